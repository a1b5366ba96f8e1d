"""What follows training: `evaluation:`, `selection:`, `finetune:`, `model_card:`, `generate:`, `report:`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from genai_core.config.section import PositiveInt, Section, Seed

PositiveFloat = Annotated[float, Field(gt=0.0, le=100.0)]
JpegLoss = Annotated[int, Field(ge=1, le=99)]


class EvaluationConfig(Section):
    """The evaluate stage: generated images against the reference statistics."""

    total_images: int = Field(ge=2, description="generated images, labels in equal shares")
    batch_images: PositiveInt
    seed: Seed = Field(description="image i is drawn from seed + i")
    is_splits: PositiveInt = Field(description="the inception score is the mean over so many parts")
    precision_neighbours: PositiveInt = Field(description="k of precision and recall")
    density_neighbours: PositiveInt = Field(description="k of density and coverage")
    pairwise_images: int = Field(ge=16, description="of each set, at most, for figures that compare all pairs")
    fd_inf_points: int = Field(ge=2, description="counts of images that the line of FID-infinity goes through")
    near_copy_percentile: float = Field(gt=0.0, lt=50.0, description="of real images' distances: nearer is a near copy")
    bootstrap_resamples: int = Field(ge=20, description="resamples for the intervals")
    confidence: float = Field(gt=0.5, lt=1.0, description="of the intervals")

    @model_validator(mode="after")
    def _enough_images(self) -> "EvaluationConfig":
        most_splits = self.total_images // 2  # the score of one image is 1, whatever it shows
        if self.is_splits > most_splits:
            raise ValueError(
                f"is_splits: got {self.is_splits}; allowed: at most {most_splits}, so that each of them has two of the "
                f"{self.total_images} total_images"
            )
        most = max(self.precision_neighbours, self.density_neighbours)
        if most >= self.total_images:
            raise ValueError(f"neighbours: got {most}; allowed: fewer than total_images, {self.total_images}")
        return self


class RobustnessConfig(Section):
    """Figures of images that are disturbed: real held-out ones, and those that each model draws."""

    images: int = Field(ge=2, description="of each set, at most")
    noise: list[PositiveFloat] = Field(description="deviations of Gaussian noise, as a share of 255 grey levels")
    blur_px: list[PositiveFloat] = Field(description="deviations of a Gaussian blur")
    jpeg_loss: list[JpegLoss] = Field(description="100 less the quality of JPEG")
    seed: Seed


class SelectionConfig(Section):
    metric: str = Field(description="distance by which the best model is chosen: the smaller wins")


class ModelCardConfig(Section):
    """What the candidate's card says besides what is known by itself. Changing it trains nothing again."""

    licence: str = Field(min_length=1, max_length=200, description="of the weights, such as CC-BY-4.0, or a link to it")
    intended_use: str = Field(
        min_length=1, max_length=2000, description="what the model is for, and what it is not for"
    )


class FinetuneConfig(Section):
    """The best model goes on from its weights, at a small learning rate, on images that are not augmented.

    What is not said here is as in the model's own training section.
    """

    start: Literal["selected", "champion"] = Field(
        description="which model goes on: the best of those trained here, or models/champion, taken from production"
    )
    total_images: PositiveInt
    learning_rate_share: float = Field(gt=0.0, le=1.0, description="of the model's own learning rate")
    warmup_images: int = Field(ge=0)
    ema_halflife_images: PositiveInt = Field(
        description="after so many images half of the average that was loaded is left"
    )
    seed: Seed


class GenerateConfig(Section):
    total_images: PositiveInt
    batch_images: PositiveInt
    seed: Seed = Field(description="image i is drawn from seed + i")
    format: Literal["png", "tar"]


class ReportConfig(Section):
    title: str
    grid_images: int = Field(ge=1, le=400)
