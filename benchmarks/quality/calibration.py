"""`python -m benchmarks quality`: the rate of each encoder that reaches x264's SSIM at each quality.

The SSIM of the corpus is the mean of -10 log10(1 - SSIM) over its clips, so that all clips count equally. The other
efforts of an encoder are fitted to its balanced one, over the clips with noise: flat graphics gain more SSIM from
B-frames and from a longer search than anything else, and would make all other pictures worse at the same quality.
"""

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
from service.plan.formats import Codec, Effort

QUALITIES = tuple(range(0, 101, 10))
Setting = tuple[Codec, Effort]
REFERENCE: Setting = ("h264", "balanced")
NOISY_CLIPS = ("street", "hall", "cells")
# The rates that are measured; mjpeg makes the same picture at every effort.
RATES: dict[Setting, tuple[int, ...]] = {
    ("hevc", "balanced"): (0, 1, 2, 4, 8, 12, 15, 18, 21, 24, 27, 30, 34, 38, 42, 46, 51),
    ("av1", "balanced"): (1, 2, 4, 8, 14, 20, 25, 30, 35, 40, 45, 50, 55, 59, 63),
    ("mjpeg", "balanced"): (1, 3, 6, 10, 15, 22, 30, 40, 50, 60, 70, 78, 85, 90, 94, 97, 99),
    ("h264", "fast"): (1, 3, 5, 7, 10, 13, 17, 21, 25, 29, 33, 37, 42, 47, 51),
    ("h264", "small"): (1, 3, 5, 7, 10, 14, 18, 22, 26, 30, 34, 38, 43, 48, 51),
    ("hevc", "small"): (0, 1, 3, 6, 10, 15, 20, 25, 30, 35, 40, 45, 51),
    ("av1", "small"): (1, 2, 4, 12, 20, 28, 36, 44, 52, 58, 63),
}
console = Console(soft_wrap=True, highlight=False)


def calibrate(hall_video: Path, efforts: Sequence[Effort], results: Path) -> int:
    """Measure, print the fit and the Markdown table, append the rows. The exit code is 1 if a clip is missing."""
    corpus = clips(hall_video)
    if len(corpus) < 4:
        console.print(f"{hall_video} does not exist: install Debian's opencv-doc, or name the file with --hall")
        return 1
    settings = [setting for setting in RATES if setting[1] in efforts]
    runs: list[EncodeResult] = []
    for setting in dict.fromkeys((REFERENCE, *((codec, "balanced") for codec, _ in settings), *settings)):
        runs += _encode_curve(corpus, setting, _rates_in_use(setting))
    for setting in settings:
        missing = sorted(set(RATES[setting]) - set(_rates_in_use(setting)))
        runs += _encode_curve(corpus, setting, missing)
        fit = [fit_rate(runs, setting, target) for target in _targets(runs, setting)]
        console.print(f"{' '.join(setting)}: {', '.join(f'{value:.1f}' for value in fit)}")
    console.print(quality_table(runs, [REFERENCE, *settings]), markup=False)
    facts = machine.facts()
    rows = [{"benchmark": "quality"} | asdict(replace(run, ssim=round(run.ssim, 6))) for run in runs]
    console.print(f"rows: {record.write_rows(results, machine.label(facts['machine']), rows, facts)}", markup=False)
    return 0


def mean_decibels(runs: Sequence[EncodeResult]) -> float:
    return mean(run.decibels for run in runs)


def fit_rate(runs: Sequence[EncodeResult], setting: Setting, target: float) -> float:
    """The rate at which the setting's clips have `target` dB, interpolated; beyond the measured rates, the nearest."""
    curve = _fitted_clips(runs, setting)
    rates = sorted({run.rate for run in curve})
    heights = [mean_decibels(_runs_at_rate(curve, value)) for value in rates]
    if setting[0] != "mjpeg":  # crf: higher is worse
        rates, heights = rates[::-1], heights[::-1]
    return float(np.interp(target, np.maximum.accumulate(heights), rates))


def _targets(runs: Sequence[EncodeResult], setting: Setting) -> list[float]:
    """The decibels to reach at each quality: x264's, or those of the codec's balanced effort."""
    codec, effort = setting
    reference: Setting = REFERENCE if effort == "balanced" else (codec, "balanced")
    known = runs if effort == "balanced" else [run for run in runs if run.clip in NOISY_CLIPS]
    return [mean_decibels(_runs_at_quality(known, reference, quality)) for quality in QUALITIES]


def _fitted_clips(runs: Sequence[EncodeResult], setting: Setting) -> list[EncodeResult]:
    """The runs of this setting that count in its fit."""
    own = [run for run in runs if (run.codec, run.effort) == setting]
    return own if setting[1] == "balanced" else [run for run in own if run.clip in NOISY_CLIPS]


def _rates_in_use(setting: Setting) -> list[int]:
    codec, effort = setting
    return sorted({encoder_quality(codec, quality, effort) for quality in QUALITIES})


def quality_table(runs: Sequence[EncodeResult], settings: Sequence[Setting]) -> str:
    """Markdown table of the current mapping by quality: rate, SSIM of the corpus, bytes relative to x264's."""
    head = [f"{' '.join(setting)}: rate, SSIM, bytes" for setting in settings]
    lines = ["| quality | " + " | ".join(head) + " |", "| --- " * (len(settings) + 1) + "|"]
    for quality in QUALITIES:
        base = sum(run.bytes for run in _runs_at_quality(runs, REFERENCE, quality))
        cells = []
        for setting in settings:
            own = _runs_at_quality(runs, setting, quality)
            ssim = 1 - 10 ** (-mean_decibels(own) / 10)
            cells.append(f"{own[0].rate}, {ssim:.4f}, {sum(run.bytes for run in own) / base:.2f}")
        lines.append(f"| {quality} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _runs_at_quality(runs: Sequence[EncodeResult], setting: Setting, quality: int) -> list[EncodeResult]:
    codec, effort = setting
    own = [run for run in runs if (run.codec, run.effort) == setting]
    return _runs_at_rate(own, encoder_quality(codec, quality, effort))


def _runs_at_rate(runs: Sequence[EncodeResult], value: int) -> list[EncodeResult]:
    return list({run.clip: run for run in runs if run.rate == value}.values())


def _encode_curve(corpus: dict[str, Clip], setting: Setting, rates: Sequence[int]) -> list[EncodeResult]:
    codec, effort = setting
    return [encode_clip(name, clip, codec, value, effort) for value in rates for name, clip in corpus.items()]
