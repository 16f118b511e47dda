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

DECODE_SECONDS_PER_MEGAPIXEL = 0.0026
"""A camera JPEG, from the same table."""

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


def _more_members(options: RenderOptions) -> float:
    """Seconds to decode what a bin has beyond its first frame; source sizes are not known here, so at the bin's."""
    bins = options.bins
    return (bins.size - 1) * DECODE_SECONDS_PER_MEGAPIXEL * bins.width * bins.height / 1e6 if bins else 0.0


def estimate(options: RenderOptions, frames: int, slots: int, seconds_per_frame: float | None) -> Estimate:
    """`seconds_per_frame` is one slot's measured rate for this codec and size, or None."""
    pixels = options.width * options.height
    each = seconds_per_frame or DEFAULT_SECONDS_PER_MEGAPIXEL[options.codec] * pixels / 1e6 + _more_members(options)
    quality = 2 ** ((options.quality - 70) / 15)
    size = frames * pixels * BITS_PER_PIXEL[options.codec] * quality / 8
    return Estimate(frames, round(frames * each / max(slots, 1), 2), int(size))
