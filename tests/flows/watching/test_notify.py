"""Notifications, with real servers on loopback: a webhook, a mail server, Prefect's own blocks."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from typing import Any

import pytest

from flows.watching.notify import Event, notify
from genai_core.config import EmailConfig, NotifyConfig
from tests.flows.conftest import Server
from tests.flows.web_servers import site

EVENT = Event("promoted", "v0.0.3 is in production", "Better than v0.0.2.", {"fd_classifier": "2.1"})
NOBODY = NotifyConfig(kinds=("promoted",), blocks=(), webhook=None, email=None)
NOWHERE = "http://127.0.0.1:9/secret-path"


@contextmanager
def serving(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Mailbox(socketserver.StreamRequestHandler):
    """The part of SMTP that one message needs (RFC 5321)."""

    letters: list[str]

    def handle(self) -> None:
        self.say("220 loopback")
        for raw in self.rfile:
            word = raw.decode().strip().upper()
            if word.startswith("EHLO"):
                self.say("250 loopback")
            elif word == "DATA":
                self.say("354 go on")
                lines = []
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line)
                self.letters.append("\n".join(lines))
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def test_webhook_gets_the_event_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with site() as found:
        address = f"http://127.0.0.1:{found.port}/hook"
        assert notify(EVENT, NOBODY.model_copy(update={"webhook": address})) == ()
        monkeypatch.setenv("GENAI_WEBHOOK_URL", f"{address}\n")  # as from a file
        monkeypatch.setenv("GENAI_WEBHOOK_TOKEN", "token\n")
        assert notify(EVENT, NOBODY.model_copy(update={"webhook": "environment"})) == ()
    first, second = found.got
    assert first.method == "POST"
    assert json.loads(first.body) == {
        "kind": "promoted",
        "title": "v0.0.3 is in production",
        "text": "Better than v0.0.2.",
        "facts": {"fd_classifier": "2.1"},
    }
    assert "Authorization" not in first.headers
    assert second.headers["Authorization"] == "Bearer token"


def test_redirect_of_a_webhook_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_WEBHOOK_TOKEN", "token")
    with site() as other:
        target = f"http://127.0.0.1:{other.port}/KEY"
        for status in (301, 302, 303, 307, 308):
            with site(status, location=target) as found:
                webhook = f"http://127.0.0.1:{found.port}/hook"
                (failure,) = notify(EVENT, NOBODY.model_copy(update={"webhook": webhook}))
            assert f"webhook: status {status}: redirects to http://127.0.0.1:{other.port}, which is not" in failure
    assert other.got == [], "neither the token nor an empty GET"


def test_email_is_delivered_with_one_subject() -> None:
    letters: list[str] = []
    handler = type("Handler", (Mailbox,), {"letters": letters})
    with serving(socketserver.TCPServer(("127.0.0.1", 0), handler)) as port:
        email = EmailConfig(
            to=("a@example.org", "b@example.org"), sender="g@example.org", host="127.0.0.1", port=port, security="none"
        )
        event = Event("failed", "the run\nBcc: c@example.org failed", "Why: größer")
        config = NotifyConfig(kinds=("failed",), blocks=(), webhook=None, email=email)
        assert notify(event, config) == ()
        assert notify(EVENT, config) == ()  # of a kind that is not configured
    (letter,) = (message_from_bytes(text.encode()) for text in letters)
    assert letter["Subject"] == "[genai] the run Bcc: c@example.org failed"
    assert (letter["To"], letter["Bcc"]) == ("a@example.org, b@example.org", None)
    payload = letter.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().strip() == "Why: größer"


def test_prefects_blocks_are_notified(server: Server) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with site() as found, temporary_settings({PREFECT_API_URL: server.url}):
        block = CustomWebhookNotificationBlock(
            name="team", url=f"http://127.0.0.1:{found.port}/block", json_data={"text": "{{subject}}: {{body}}"}
        )
        block.save("team", overwrite=True)
        Secret(value="x").save("plain", overwrite=True)
        blocks = ("custom-webhook/team", "secret/plain", "slack-webhook/nobody")
        failures = notify(EVENT, NOBODY.model_copy(update={"blocks": blocks}))
    assert json.loads(found.got[0].body)["text"].startswith("v0.0.3 is in production: Better than v0.0.2.")
    assert [failure.partition(":")[0] for failure in failures] == ["secret/plain", "slack-webhook/nobody"]
    assert "not a notification block" in failures[0]


def test_unreachable_recipients_are_reported_and_raise_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    email = EmailConfig(to=("a@example.org",), sender="g@example.org", host="127.0.0.1", port=9, security="starttls")
    config = NotifyConfig(kinds=("promoted",), blocks=(), webhook=NOWHERE, email=email)
    failures = notify(EVENT, config)
    assert len(failures) == 2
    assert all("refused" in failure for failure in failures)
    for value in ("", "ftp://127.0.0.1/"):
        monkeypatch.setenv("GENAI_WEBHOOK_URL", value)
        (failure,) = notify(EVENT, NOBODY.model_copy(update={"webhook": "environment"}))
        assert "GENAI_WEBHOOK_URL" in failure
    monkeypatch.setenv("GENAI_WEBHOOK_URL", "http://me:secret@127.0.0.1:secret/secret")
    (failure,) = notify(EVENT, NOBODY.model_copy(update={"webhook": "environment"}))
    assert failure == "webhook: not a valid address"
    with site(500) as found:
        (failure,) = notify(EVENT, NOBODY.model_copy(update={"webhook": f"http://127.0.0.1:{found.port}/"}))
    assert failure == "webhook: status 500"
