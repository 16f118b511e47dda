"""The limits that hold before any work is done."""

from pydantic import Field

from service.environment import EnvironmentSettings


class RenderLimits(EnvironmentSettings):
    """Bounds on one render and on one caller."""

    max_frames: int = 1_000_000  # 9 h of video at 30 fps
    max_pixels: int = Field(
        default=100_000_000, ge=1, validation_alias="REELMILL_MAX_PIXELS", description="pixels of one source frame"
    )
    max_queued: int = Field(
        default=20, ge=1, validation_alias="REELMILL_MAX_QUEUED", description="unfinished renders one caller may have"
    )
