"""What `genai up` serves: `serve:`. No stage depends on it."""

from pydantic import Field

from genai_core.config.section import PositiveInt, Section


class ServeConfig(Section):
    """A server for models that `genai up` starts (flows/serving). The options are those of `genai serve`."""

    up: bool = Field(description="start it with `genai up`; false: only `genai serve` serves")
    models: tuple[str, ...] = Field(min_length=1, strict=False, description="prod, versions, models here, folders")
    host: str = Field(min_length=1, description="other than loopback: needs a token (genai serve token add)")
    port: int = Field(ge=1, le=65535)
    devices: tuple[str, ...] = Field(
        min_length=1, strict=False, description="auto, cpu, cuda or cuda:N, one process each"
    )
    threads: PositiveInt | None = Field(description="of computations on a processor; null: cores")
    queue_images: PositiveInt = Field(description="images that may wait; beyond it, requests get 429")
    batch_images: PositiveInt = Field(description="images computed together")
    token_rate: int = Field(ge=0, description="requests a minute that each token may send; 0: no limit")
