"""Notifications: Prefect's notification blocks, a webhook, e-mail. A message that fails never fails a run.

Webhook and e-mail are not sent by Apprise 1.13. It returns False without a reason, replaces the bearer token with a
login from ~/.netrc, sends one e-mail per recipient, and takes 0.3 s of CPU time more (benchmarks/libraries.py).
"""

import json
import os
import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.message import EmailMessage
from functools import partial

from flows.redact import hosts_only
from flows.web import send
from genai_core.config import FROM_ENVIRONMENT, EmailConfig, EventKind, NotifyConfig

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Event:
    """An event to notify people of. facts: figures and versions by name, each a short text."""

    kind: EventKind
    title: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> str:
        """The event as plain text."""
        facts = "\n".join(f"{name}: {value}" for name, value in self.facts.items())
        return "\n\n".join(part for part in (self.text, facts) if part) or self.title


def notify(event: Event, config: NotifyConfig) -> tuple[str, ...]:
    """Notify every recipient in `config`. Return one line per failure; raise nothing."""
    if event.kind not in config.kinds:
        return ()
    channels: list[tuple[str, Callable[[], None]]] = [(name, partial(_block, event, name)) for name in config.blocks]
    if config.webhook:
        channels.append(("webhook", partial(_webhook, event, config.webhook)))
    if config.email:
        channels.append((f"e-mail to {', '.join(config.email.to)}", partial(_email, event, config.email)))
    failures = []
    for name, send_event in channels:
        try:
            send_event()
        except Exception as error:  # from any library that a block may use
            reason = " ".join(str(error).split()) or type(error).__name__
            failures.append(f"{name}: {hosts_only(reason)}")
    return tuple(failures)


def _block(event: Event, name: str) -> None:
    import prefect.blocks.notifications  # noqa: F401 - makes its block types loadable by name
    from prefect.blocks.core import Block

    block = Block.load(name, _sync=True)  # type: ignore[call-arg]
    send_event = getattr(block, "notify", None)
    if send_event is None:
        raise ValueError(f"{type(block).__name__} is not a notification block; correct notify.blocks")
    send_event(body=event.body(), subject=event.title, _sync=True)


def _webhook(event: Event, address: str) -> None:
    """POST the event as JSON, with GENAI_WEBHOOK_TOKEN, if set, as bearer token."""
    if address == FROM_ENVIRONMENT:
        address = _secret("GENAI_WEBHOOK_URL")
        if not address.startswith(("http://", "https://")):
            raise ValueError("GENAI_WEBHOOK_URL: expected an http(s) address")
    headers = {"Content-Type": "application/json", "User-Agent": "genai-pipeline"}
    if token := _variable("GENAI_WEBHOOK_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    send(address, json.dumps(asdict(event)).encode(), headers=headers, timeout_s=TIMEOUT_S)


def _email(event: Event, config: EmailConfig) -> None:
    message = EmailMessage()
    # A line break in a header would start another header.
    message["Subject"] = " ".join(f"[genai] {event.title}".split())
    message["From"], message["To"] = config.sender, ", ".join(config.to)
    message.set_content(event.body())
    context = ssl.create_default_context()
    connect = partial(smtplib.SMTP_SSL, context=context) if config.security == "tls" else smtplib.SMTP
    with connect(config.host, config.port, timeout=TIMEOUT_S) as server:
        if config.security == "starttls":
            server.starttls(context=context)
        if user := _variable("GENAI_SMTP_USER"):
            server.login(user, _secret("GENAI_SMTP_PASSWORD"))
        server.send_message(message)


def _secret(name: str) -> str:
    if value := _variable(name):
        return value
    raise ValueError(f"set the environment variable {name}")


def _variable(name: str) -> str:
    # A secret from a file often ends in a line break, which is invalid in a header or login.
    return os.environ.get(name, "").rstrip("\r\n")
