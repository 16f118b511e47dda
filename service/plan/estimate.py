"""What a render will cost, said before it starts."""

from dataclasses import asdict, dataclass

from service.plan.containers import Codec
from service.plan.render_plan import RenderOptions

DEFAULT_SECONDS_PER_MEGAPIXEL: dict[Codec, float] = {
    "h264": 0.0125,
    "av1": 0.0073,
    "hevc": 0.02,
    "mjpeg": 0.002,
    "ffv1": 0.02,
}
"""One core, decode included, from the measured table in docs/rendering.md; used until a worker has measured its own."""

BITS_PER_PIXEL: dict[Codec, float] = {
    "h264": 0.041,
    "av1": 0.025,
    "hevc": 0.03,
    "mjpeg": 0.8,
    "ffv1": 4.0,
}
"""At quality 70, from the same table."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Output frames, wall seconds on the workers that are alive now, bytes of the video."""

    frames: int
    seconds: float
    bytes: int

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def estimate(options: RenderOptions, frames: int, slots: int, seconds_per_frame: float | None) -> Estimate:
    """`seconds_per_frame` is one slot's measured rate for this codec and size, or None."""
    pixels = options.width * options.height
    each = seconds_per_frame or DEFAULT_SECONDS_PER_MEGAPIXEL[options.codec] * pixels / 1e6
    quality = 2 ** ((options.quality - 70) / 15)
    size = frames * pixels * BITS_PER_PIXEL[options.codec] * quality / 8
    return Estimate(frames, round(frames * each / max(slots, 1), 2), int(size))
