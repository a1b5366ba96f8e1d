"""Settings after training: `evaluation:`, `selection:`, `model_card:`, `generate:`, `report:`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from genai_core.config.section import PositiveInt, Section, Seed

PositiveFloat = Annotated[float, Field(gt=0.0, le=100.0)]
# Images for the distance at infinitely many (fd_inf): of fewer, the line would start at a handful, and the intervals
# would be several times as wide as the figure.
LEAST_EXTRAPOLATED = 50
JpegLoss = Annotated[int, Field(ge=1, le=99)]


class EvaluationConfig(Section):
    """The evaluate stage: generated images against the reference statistics."""

    total_images: int = Field(ge=2, description="generated images, with labels in the training images' proportions")
    batch_images: PositiveInt
    seed: Seed = Field(description="image i uses seed + i")
    is_splits: PositiveInt = Field(description="the inception score is the mean over this many splits")
    precision_neighbours: PositiveInt = Field(description="k of precision and recall")
    density_neighbours: PositiveInt = Field(description="k of density and coverage")
    pairwise_images: int = Field(ge=16, description="maximum images per set for figures over all pairs")
    fd_inf_points: int = Field(ge=2, description="number of image counts for the line fit of FID-infinity")
    near_copy_percentile: float = Field(gt=0.0, lt=50.0, description="of real images' distances; closer is a near copy")
    bootstrap_resamples: int = Field(ge=20, description="resamples for the intervals")
    confidence: float = Field(gt=0.5, lt=1.0, description="of the intervals")

    @model_validator(mode="after")
    def _enough_images(self) -> "EvaluationConfig":
        max_splits = self.total_images // 2  # the score of a single image is always 1
        if self.is_splits > max_splits:
            raise ValueError(
                f"is_splits: got {self.is_splits}; allowed: at most {max_splits}, for two images per split of the "
                f"{self.total_images} total_images"
            )
        for key in ("precision_neighbours", "density_neighbours"):
            for limit in ("total_images", "pairwise_images"):
                if getattr(self, key) >= getattr(self, limit):
                    raise ValueError(
                        f"{key}: got {getattr(self, key)}; allowed: fewer than {limit}, {getattr(self, limit)}"
                    )
        return self


class RobustnessConfig(Section):
    """Figures of disturbed images: real held-out ones, and those of each model."""

    images: int = Field(ge=2, description="maximum per set")
    noise: list[PositiveFloat] = Field(
        description="standard deviations of Gaussian noise, as a share of 255 grey levels"
    )
    blur_px: list[PositiveFloat] = Field(description="standard deviations of a Gaussian blur")
    jpeg_loss: list[JpegLoss] = Field(description="100 minus the JPEG quality")
    seed: Seed


class SelectionConfig(Section):
    metric: str = Field(description="distance by which the best model is chosen; the smallest wins")


class ModelCardConfig(Section):
    """Text for the candidate's card that cannot be derived. Changing it retrains nothing."""

    licence: str = Field(min_length=1, max_length=200, description="of the weights, such as CC-BY-4.0, or a link to it")
    intended_use: str = Field(
        min_length=1, max_length=2000, description="what the model is for, and what it is not for"
    )


class GenerateConfig(Section):
    total_images: PositiveInt
    batch_images: PositiveInt
    seed: Seed = Field(description="image i uses seed + i")
    format: Literal["png", "tar"]


class ReportConfig(Section):
    title: str
    grid_images: int = Field(ge=1, le=400)
