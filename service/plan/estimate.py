"""What a render will cost: frames, seconds and bytes, estimated before it starts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from service.plan.formats import Codec, Effort
from service.plan.render_plan import RenderOptions

# One core, decode included, from the table in docs/rendering.md; used until a worker has measured its own.
DEFAULT_SECONDS_PER_MEGAPIXEL: dict[Codec, float] = {
    "h264": 0.0125,
    "av1": 0.0073,
    "hevc": 0.02,
    "mjpeg": 0.002,
    "ffv1": 0.02,
}

# A camera JPEG, from the same table.
DECODE_SECONDS_PER_MEGAPIXEL = 0.0026

# At quality 70, from the same table.
BITS_PER_PIXEL: dict[Codec, float] = {
    "h264": 0.041,
    "av1": 0.025,
    "hevc": 0.036,
    "mjpeg": 0.85,
    "ffv1": 2.8,
}

# Seconds of the encoder and bytes of the video at each effort that differs, relative to the balanced one: the table in
# docs/quality.md.
EFFORT_SECONDS: dict[Codec, dict[Effort, float]] = {
    "h264": {"fast": 0.3, "balanced": 1, "small": 4.2},
    "hevc": {"balanced": 1, "small": 1.5},
    "av1": {"balanced": 1, "small": 3.4},
    "mjpeg": {"balanced": 1, "small": 2},
    "ffv1": {"fast": 0.75, "balanced": 1, "small": 1.1},
}
EFFORT_BYTES: dict[Codec, dict[Effort, float]] = {
    "h264": {"fast": 1.8, "balanced": 1, "small": 0.65},
    "hevc": {"balanced": 1, "small": 0.6},
    "av1": {"balanced": 1, "small": 0.6},
    "mjpeg": {"balanced": 1, "small": 0.94},
    "ffv1": {"fast": 1.04, "balanced": 1, "small": 0.98},
}

STAGES = ("fetch", "decode", "transform", "encode")

# From the queue to the first slot, and the assembly of a small video.
OVERHEAD_S = 0.3


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """A recent segment of the same codec and effort: its frames, bytes, seconds per stage, and output options."""

    frames: int
    bytes: int
    seconds: dict[str, float]
    width: int
    height: int
    quality: int


@dataclass(frozen=True, slots=True)
class FrameCost:
    """What one frame costs one slot: seconds per stage, and bytes of the video."""

    seconds: dict[str, float]
    bytes: float


@dataclass(frozen=True, slots=True)
class Workload:
    """What there is to do: `uncached` of the `frames` are not cached, and make up `segments`; `slots` are live."""

    frames: int
    uncached: int
    segments: int
    slots: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Output frames, wall seconds on the workers that are live now, bytes of the video.

    `reused_frames` come from the cache; `stages` are the measured seconds of a frame, empty before any was measured;
    `seconds_per_frame` is how long a frame occupies a slot, measured or not.
    """

    frames: int
    seconds: float
    bytes: int
    reused_frames: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    seconds_per_frame: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(options: RenderOptions, workload: Workload, samples: Sequence[SegmentStats] = ()) -> Estimate:
    """The estimate from `samples` of the same codec and effort, best of the same size; without any, from the tables."""
    measured = measured_cost(options, samples)
    cost = measured or _default_cost(options)
    each = sum(cost.seconds.values())
    waves = -(-workload.segments // max(workload.slots, 1))
    busy = waves * workload.uncached / workload.segments * each if workload.segments else 0.0
    stages = {stage: round(spent, 6) for stage, spent in measured.seconds.items()} if measured else {}
    return Estimate(
        workload.frames,
        round(busy + OVERHEAD_S, 2),
        int(workload.frames * cost.bytes),
        workload.frames - workload.uncached,
        stages,
        round(each, 6),
    )


def measured_cost(options: RenderOptions, samples: Sequence[SegmentStats]) -> FrameCost | None:
    """The mean cost of the samples of the same size, else of all, scaled by their pixels; None without samples.

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
    size = sum(sample.bytes * _size_factor(options.quality - sample.quality) for sample in used) / frames
    return FrameCost(scaled, size * scale)


def _default_cost(options: RenderOptions) -> FrameCost:
    pixels = options.width * options.height
    bits = BITS_PER_PIXEL[options.codec] * EFFORT_BYTES[options.codec][options.effort]
    size = pixels * bits * _size_factor(options.quality - 70) / 8
    seconds = _seconds_per_megapixel(options) * pixels / 1e6
    return FrameCost({"decode": _further_decode_seconds(options), "encode": seconds}, size)


def _seconds_per_megapixel(options: RenderOptions) -> float:
    """Decode included, whose share is the same at every effort; JPEGs that mjpeg copies are not encoded at all."""
    seconds = DEFAULT_SECONDS_PER_MEGAPIXEL[options.codec]
    encode = max(seconds - DECODE_SECONDS_PER_MEGAPIXEL, 0)
    return seconds + encode * (EFFORT_SECONDS[options.codec][options.effort] - 1)


def _further_decode_seconds(options: RenderOptions) -> float:
    """Seconds to decode what a bin or a grid has beyond its first frame; source sizes are not known here, so at the
    size of the bin or panel."""
    shown = options.bins or options.grid
    if shown is None:
        return 0.0
    return (options.sources_per_output - 1) * DECODE_SECONDS_PER_MEGAPIXEL * shown.width * shown.height / 1e6


def _size_factor(quality_steps: int) -> float:
    """How many times larger a video becomes by so many steps of quality."""
    return float(2 ** (quality_steps / 15))
