"""`python -m benchmarks efforts`: what each effort costs and saves, on one thread, at the same quality.

Every effort of a codec encodes the same frames in turn; the least CPU seconds of the repetitions count, because a busy
machine only adds to them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import geometric_mean

from rich.console import Console

from benchmarks import machine, record
from benchmarks.footage import cache_folder, load_or_create
from benchmarks.quality.corpus import Clip
from benchmarks.quality.encodes import EncodeResult, encode_clip
from benchmarks.scenes import Kind
from service.pipeline.colour import LIMITED_RANGE
from service.pipeline.encode.codecs import encoder_quality
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.transform.colour_range import convert_range
from service.plan.formats import EFFORTS, Codec, Effort

CODECS: tuple[Codec, ...] = ("h264", "av1", "hevc")
KINDS: tuple[Kind, ...] = ("street", "night", "microscope", "screen")
SIZE, CACHED_FRAMES, QUALITY = (1920, 1080), 60, 70
console = Console(soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class EffortRatio:
    """An effort of a codec on one kind of footage, relative to the balanced one: `decibels` are the difference."""

    codec: Codec
    effort: Effort
    kind: str
    seconds: float
    bytes: float
    decibels: float


def measure(frames: int, repetitions: int, results: Path) -> int:
    """Measure, print the Markdown table, append the rows; returns the exit code."""
    runs: list[EncodeResult] = []
    for kind in KINDS:
        clip = _load_clip(kind, frames)
        for codec in CODECS:
            runs += [
                encode_clip(kind, clip, codec, encoder_quality(codec, QUALITY, effort), effort)
                for _ in range(repetitions)
                for effort in EFFORTS[codec]
            ]
    console.print(effort_table(effort_ratios(runs)), markup=False)
    facts = machine.facts()
    rows = [{"benchmark": "efforts"} | asdict(replace(run, ssim=round(run.ssim, 6))) for run in runs]
    console.print(f"rows: {record.write_rows(results, machine.label(facts['machine']), rows, facts)}", markup=False)
    return 0


def _load_clip(kind: Kind, frames: int) -> Clip:
    footage = load_or_create(max(frames, CACHED_FRAMES), SIZE, cache_folder(), kind)
    decoder = ImageDecoder(DecodeOptions(10_000_000))
    decoded = (decoder.decode(path.read_bytes()).frame for path in footage.frames[:frames])
    return [convert_range(LIMITED_RANGE, frame, "yuv420p") for frame in decoded]


def effort_ratios(runs: Sequence[EncodeResult]) -> list[EffortRatio]:
    """One for each codec, effort but the balanced one, and kind of footage, in the order of the runs."""
    best: dict[tuple[str, Codec, Effort], EncodeResult] = {}
    for run in runs:
        key = (run.clip, run.codec, run.effort)
        if key not in best or run.cpu_seconds < best[key].cpu_seconds:
            best[key] = run
    return [
        EffortRatio(
            codec,
            effort,
            kind,
            run.cpu_seconds / best[kind, codec, "balanced"].cpu_seconds,
            run.bytes / best[kind, codec, "balanced"].bytes,
            run.decibels - best[kind, codec, "balanced"].decibels,
        )
        for (kind, codec, effort), run in best.items()
        if effort != "balanced"
    ]


def effort_table(ratios: Sequence[EffortRatio]) -> str:
    """Markdown: geometric means over the kinds, and each kind's CPU, bytes and SSIM."""
    kinds = list(dict.fromkeys(ratio.kind for ratio in ratios))
    lines = ["| codec, effort | CPU, bytes | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 2) + "|"]
    for setting in dict.fromkeys((ratio.codec, ratio.effort) for ratio in ratios):
        own = [ratio for ratio in ratios if (ratio.codec, ratio.effort) == setting]
        cpu, size = geometric_mean(r.seconds for r in own), geometric_mean(r.bytes for r in own)
        cells = [f"{r.seconds:.2f}, {r.bytes:.2f}, {r.decibels:+.2f} dB" for r in own]
        lines.append(f"| {' '.join(setting)} | {cpu:.2f}, {size:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
