"""The page, the API's description, and headers for browsers."""

import re

from tests.flows.serving.served import Server


def test_the_api_page_lists_every_route_and_loads_nothing(server: Server) -> None:
    with server.client() as client:
        page, schema = client.get("/docs"), client.get("/openapi.json").json()
    assert page.headers["content-type"].startswith("text/html")
    assert {"/v1/draw", "/v1/models", "/v1/images/generations", "/healthz", "/metrics"} <= set(schema["paths"])
    for path in schema["paths"]:
        assert path in page.text
    assert not re.findall(r"(?:src|href)=['\"]https?:", page.text)
    assert "<td>integer from 1 to 64</td>" in page.text
    assert "<td>png | jpeg | webp</td>" in page.text


def test_headers_for_browsers_are_on_every_answer(server: Server) -> None:
    with server.client() as client:
        for path in ("/v1/models", "/docs", "/nothing"):
            headers = client.get(path).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers


def test_metrics_say_what_happened(server: Server) -> None:
    server.draw(model="gan", count=3)
    server.draw(model="gan", count=0)
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert values['genai_requests_total{method="POST",route="/v1/draw",status="200"}'] >= 1
    assert values['genai_requests_total{method="POST",route="/v1/draw",status="422"}'] >= 1
    assert values['genai_images_total{model="gan"}'] >= 3
    assert values['genai_batch_images_count{model="gan"}'] >= 1
    assert values['genai_request_seconds_count{route="/v1/draw"}'] >= 2
    assert values['genai_model_process_up{device="cpu"}'] == 1
    assert values["process_resident_memory_bytes"] > 1e6
