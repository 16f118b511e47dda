"""`python -m benchmarks quality`: the rate of each encoder that reaches x264's SSIM at each quality.

The SSIM of the corpus is the mean of -10 log10(1 - SSIM) over its clips, so that all clips count equally."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean

import numpy as np
from rich.console import Console

from benchmarks import machine, record
from benchmarks.quality.corpus import Clip, clips
from benchmarks.quality.encodes import EncodeResult, encode_clip
from service.pipeline.encode.codecs import encoder_quality
from service.plan.formats import Codec

QUALITIES = tuple(range(0, 101, 10))
RATES: dict[Codec, tuple[int, ...]] = {
    "hevc": (1, 4, 8, 12, 15, 18, 21, 24, 27, 30, 34, 38, 42, 46, 51),
    "av1": (1, 4, 8, 14, 20, 25, 30, 35, 40, 45, 50, 55, 59, 63),
    "mjpeg": (1, 3, 6, 10, 15, 22, 30, 40, 50, 60, 70, 78, 85, 90, 94, 97, 99),
}
console = Console(soft_wrap=True, highlight=False)


def calibrate(hall_video: Path, results: Path) -> int:
    """Measure, print the fit and the Markdown table, append the rows. The exit code is 1 if a clip is missing."""
    corpus = clips(hall_video)
    if len(corpus) < 4:
        console.print(f"{hall_video} does not exist: install Debian's opencv-doc, or name the file with --hall")
        return 1
    reference = _encode_curve(corpus, "h264", [encoder_quality("h264", quality) for quality in QUALITIES])
    runs = list(reference)
    targets = {
        quality: mean_decibels(_runs_at_rate(reference, encoder_quality("h264", quality))) for quality in QUALITIES
    }
    for codec, rates in RATES.items():
        curve = _encode_curve(corpus, codec, rates)
        runs += curve
        fit = [fit_rate(curve, codec, targets[quality]) for quality in QUALITIES]
        console.print(f"{codec}: {', '.join(f'{value:.1f}' for value in fit)}")
    runs += [
        run
        for codec in RATES
        for run in _encode_curve(corpus, codec, sorted({encoder_quality(codec, q) for q in QUALITIES}))
    ]
    console.print(quality_table(runs), markup=False)
    facts = machine.facts()
    rows = [{"benchmark": "quality"} | asdict(replace(run, ssim=round(run.ssim, 6))) for run in runs]
    console.print(f"rows: {record.write_rows(results, machine.label(facts['machine']), rows, facts)}", markup=False)
    return 0


def mean_decibels(runs: Sequence[EncodeResult]) -> float:
    return mean(-10 * math.log10(1 - min(run.ssim, 0.999999)) for run in runs)


def fit_rate(curve: Sequence[EncodeResult], codec: Codec, target: float) -> float:
    """The rate at which the corpus has `target` dB, interpolated; beyond the measured rates, the nearest one."""
    rates = sorted({run.rate for run in curve})
    heights = [mean_decibels(_runs_at_rate(curve, value)) for value in rates]
    if codec != "mjpeg":  # crf: higher is worse
        rates, heights = rates[::-1], heights[::-1]
    return float(np.interp(target, np.maximum.accumulate(heights), rates))


def quality_table(runs: Sequence[EncodeResult]) -> str:
    """Markdown table of the current mapping by quality: rate, SSIM of the corpus, bytes relative to x264."""
    codecs: tuple[Codec, ...] = ("h264", *RATES)
    lines = ["| quality | " + " | ".join(f"{codec}: rate, SSIM, bytes" for codec in codecs) + " |"]
    lines.append("| --- " * (len(codecs) + 1) + "|")
    for quality in QUALITIES:
        base = sum(run.bytes for run in _runs_at_quality(runs, "h264", quality))
        cells = []
        for codec in codecs:
            own = _runs_at_quality(runs, codec, quality)
            ssim = 1 - 10 ** (-mean_decibels(own) / 10)
            cells.append(f"{own[0].rate}, {ssim:.4f}, {sum(run.bytes for run in own) / base:.2f}")
        lines.append(f"| {quality} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _runs_at_quality(runs: Sequence[EncodeResult], codec: Codec, quality: int) -> list[EncodeResult]:
    return _runs_at_rate([run for run in runs if run.codec == codec], encoder_quality(codec, quality))


def _runs_at_rate(runs: Sequence[EncodeResult], value: int) -> list[EncodeResult]:
    return list({run.clip: run for run in runs if run.rate == value}.values())


def _encode_curve(corpus: dict[str, Clip], codec: Codec, rates: Sequence[int]) -> list[EncodeResult]:
    return [encode_clip(name, clip, codec, value) for value in rates for name, clip in corpus.items()]
