"""What a render will cost, said before it starts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

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
    "hevc": 0.036,
    "mjpeg": 0.85,
    "ffv1": 2.8,
}
"""At quality 70, from the same table."""


STAGES = ("fetch", "decode", "transform", "encode")
OVERHEAD_S = 0.3
"""From the queue to the first slot, and the assembly of a small video."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A segment that was made lately with the same codec: its frames, bytes, seconds per stage, and output options."""

    frames: int
    bytes: int
    seconds: dict[str, float]
    width: int
    height: int
    quality: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What one slot takes for one frame: seconds per stage, and the bytes it becomes."""

    seconds: dict[str, float]
    bytes: float


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do: `fresh` of the `frames` are in no cached segment; they make up `segments`; `slots` live."""

    frames: int
    fresh: int
    segments: int
    slots: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Output frames, wall seconds on the workers that are alive now, bytes of the video.

    `reused_frames` come from the cache; `stages` are the measured seconds of a frame, empty before anything was made.
    """

    frames: int
    seconds: float
    bytes: int
    reused_frames: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(options: RenderOptions, load: Load, samples: Sequence[Sample] = ()) -> Estimate:
    """`samples` of the same codec, best of the same size; without any, the table above is used."""
    rates = measured(options, samples)
    used = rates or _tabled(options)
    each = sum(used.seconds.values())
    waves = -(-load.segments // max(load.slots, 1))
    busy = waves * load.fresh / load.segments * each if load.segments else 0.0
    stages = {stage: round(spent, 6) for stage, spent in rates.seconds.items()} if rates else {}
    return Estimate(
        load.frames, round(busy + OVERHEAD_S, 2), int(load.frames * used.bytes), load.frames - load.fresh, stages
    )


def measured(options: RenderOptions, samples: Sequence[Sample]) -> Rates | None:
    """Rates of the samples: of those of the same size, else of all, scaled by their pixels. None without samples.

    Fetching and decoding depend on the source, so they are not scaled.
    """
    same = [sample for sample in samples if (sample.width, sample.height) == (options.width, options.height)]
    used = same or samples
    frames = sum(sample.frames for sample in used)
    if not frames:
        return None
    spent = {stage: sum(sample.seconds.get(stage, 0.0) for sample in used) / frames for stage in STAGES}
    scale = options.width * options.height * frames / sum(each.width * each.height * each.frames for each in used)
    scaled = {stage: each * (1 if stage in ("fetch", "decode") else scale) for stage, each in spent.items()}
    size = sum(sample.bytes * _quality(options.quality - sample.quality) for sample in used) / frames
    return Rates(scaled, size * scale)


def _tabled(options: RenderOptions) -> Rates:
    pixels = options.width * options.height
    size = pixels * BITS_PER_PIXEL[options.codec] * _quality(options.quality - 70) / 8
    seconds = DEFAULT_SECONDS_PER_MEGAPIXEL[options.codec] * pixels / 1e6
    return Rates({"decode": _more_members(options), "encode": seconds}, size)


def _more_members(options: RenderOptions) -> float:
    """Seconds to decode what a bin has beyond its first frame; source sizes are not known here, so at the bin's."""
    bins = options.bins
    return (bins.size - 1) * DECODE_SECONDS_PER_MEGAPIXEL * bins.width * bins.height / 1e6 if bins else 0.0


def _quality(steps: int) -> float:
    """How many times larger so many steps of quality make a video."""
    return float(2 ** (steps / 15))
