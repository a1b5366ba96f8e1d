"""The automations for zombie runs, as a step of `prefect deploy`."""

from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CUSTOM_HEADERS, temporary_settings

from flows.services.zombie_runs import deploy_automations
from tests.flows.web_servers import site


def test_the_headers_of_the_client_itself_are_not_replaced() -> None:
    """As by Prefect's client, and by every other command."""
    custom = {"X-Office": "k", "User-Agent": "mine", "Prefect-Csrf-Token": "old", "prefect-csrf-client": "me"}
    with site(body=b"[]") as server:
        url = f"http://127.0.0.1:{server.port}/api"
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_CUSTOM_HEADERS: custom}):
            deploy_automations()
    assert [got.path for got in server.got] == ["/api/automations/filter", "/api/automations/", "/api/automations/"]
    for got in server.got:
        headers = {name.lower(): value for name, value in got.headers.items()}
        assert headers["x-office"] == "k"
        assert headers["user-agent"] != "mine"
        assert not {"prefect-csrf-token", "prefect-csrf-client"} & set(headers)
