"""What a deployment watches and whom it notifies: `watch:`, `notify:`. No stage depends on these."""

from typing import Literal

from pydantic import Field, model_validator

from genai_core.config.section import Section

EventKind = Literal["news", "worse", "skipped", "waiting", "promoted", "rejected", "failed"]

# Used instead of an address that is a secret and is set in GENAI_WEBHOOK_URL.
FROM_ENVIRONMENT = "environment"


class WatchConfig(Section):
    """What `genai watch` observes, and when production counts as degraded (flows/watching)."""

    source: str | None = Field(description="a growing folder, or an archive; null: only git and its remote")
    name: str | None = Field(description="its folder below data/raw; null: the source's own name")
    add: bool = Field(description="add new images and commit data/raw.dvc; false: only notify")
    settle_s: float = Field(ge=0.0, description="files changed more recently may still be being written")
    repeat_hours: float = Field(gt=0.0, description="interval for repeating news that production does not include yet")
    max_worse_share: float = Field(gt=0.0, description="share by which the distance may be larger on new data")


class EmailConfig(Section):
    """A mail server. User and password, if needed, come from GENAI_SMTP_USER and GENAI_SMTP_PASSWORD."""

    to: tuple[str, ...] = Field(min_length=1, strict=False)
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = Field(description="none: for a mail server on this machine")


class NotifyConfig(Section):
    """Who is notified of what (flows/watching/notify.py). Secrets come from the environment."""

    kinds: tuple[EventKind, ...] = Field(strict=False)
    blocks: tuple[str, ...] = Field(strict=False, description="Prefect's notification blocks: slack-webhook/NAME ...")
    webhook: str | None = Field(description="receives each event as JSON by POST; environment: its address is a secret")
    email: EmailConfig | None

    @model_validator(mode="after")
    def _addresses_are_complete(self) -> "NotifyConfig":
        for name in self.blocks:
            kind, slash, rest = name.partition("/")
            if not (kind and slash and rest) or "/" in rest:
                raise ValueError(f"blocks: got {name!r}; allowed: TYPE/NAME, such as slack-webhook/team")
        if self.webhook and self.webhook != FROM_ENVIRONMENT and not self.webhook.startswith(("http://", "https://")):
            raise ValueError(f"webhook: got {self.webhook!r}; allowed: an http(s) address, {FROM_ENVIRONMENT} or null")
        return self
