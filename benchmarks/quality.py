"""`python -m benchmarks quality`: which rate of each encoder gives the SSIM that x264 gives at a quality.

The SSIM of a corpus is the mean over its clips of -10 log10(1 - SSIM), so that each clip counts the same.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks import machine
from benchmarks.corpus import Clip, clips
from benchmarks.encodes import Encode, encode
from service.pipeline.quality import rate
from service.plan.formats import Codec

QUALITIES = tuple(range(0, 101, 10))
RATES: dict[Codec, tuple[int, ...]] = {
    "hevc": (1, 4, 8, 12, 15, 18, 21, 24, 27, 30, 34, 38, 42, 46, 51),
    "av1": (1, 4, 8, 14, 20, 25, 30, 35, 40, 45, 50, 55, 59, 63),
    "mjpeg": (1, 3, 6, 10, 15, 22, 30, 40, 50, 60, 70, 78, 85, 90, 94, 97, 99),
}
console = Console(soft_wrap=True, highlight=False)


def calibrate(hall: Path, results: Path) -> int:
    """Measure, print the markdown table and the fit, append the rows. 1 when a clip is missing."""
    corpus = clips(hall)
    if len(corpus) < 4:
        console.print(f"{hall} is not there: install Debian's opencv-doc, or name the file with --hall")
        return 1
    reference = _curve(corpus, "h264", [rate("h264", quality) for quality in QUALITIES])
    runs = list(reference)
    targets = {quality: decibels(_at(reference, rate("h264", quality))) for quality in QUALITIES}
    for codec, rates in RATES.items():
        curve = _curve(corpus, codec, rates)
        runs += curve
        fit = [fitted(curve, codec, targets[quality]) for quality in QUALITIES]
        console.print(f"{codec}: {', '.join(f'{value:.1f}' for value in fit)}")
    runs += [run for codec in RATES for run in _curve(corpus, codec, sorted({rate(codec, q) for q in QUALITIES}))]
    console.print(table(runs), markup=False)
    console.print(f"rows: {_write(results, runs)}", markup=False)
    return 0


def decibels(runs: Sequence[Encode]) -> float:
    return mean(-10 * math.log10(1 - min(run.ssim, 0.999999)) for run in runs)


def fitted(curve: Sequence[Encode], codec: Codec, target: float) -> float:
    """The rate at which the corpus has `target` dB, between the measured ones; the nearest of them beyond."""
    rates = sorted({run.rate for run in curve})
    heights = [decibels(_at(curve, value)) for value in rates]
    if codec != "mjpeg":  # a crf: more is worse
        rates, heights = rates[::-1], heights[::-1]
    return float(np.interp(target, np.maximum.accumulate(heights), rates))


def table(runs: Sequence[Encode]) -> str:
    """Markdown: what the mapping in use gives at each quality: rate, SSIM of the corpus, bytes against x264."""
    codecs: tuple[Codec, ...] = ("h264", *RATES)
    lines = ["| quality | " + " | ".join(f"{codec}: rate, SSIM, bytes" for codec in codecs) + " |"]
    lines.append("| --- " * (len(codecs) + 1) + "|")
    for quality in QUALITIES:
        base = sum(run.bytes for run in _of(runs, "h264", quality))
        cells = [_cell(_of(runs, codec, quality), base) for codec in codecs]
        lines.append(f"| {quality} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: Sequence[Encode], base: int) -> str:
    similarity = 1 - 10 ** (-decibels(found) / 10)
    return f"{found[0].rate}, {similarity:.4f}, {sum(run.bytes for run in found) / base:.2f}"


def _of(runs: Sequence[Encode], codec: Codec, quality: int) -> list[Encode]:
    return _at([run for run in runs if run.codec == codec], rate(codec, quality))


def _at(runs: Sequence[Encode], value: int) -> list[Encode]:
    return list({run.clip: run for run in runs if run.rate == value}.values())


def _curve(corpus: dict[str, Clip], codec: Codec, rates: Sequence[int]) -> list[Encode]:
    return [encode(name, clip, codec, value) for value in rates for name, clip in corpus.items()]


def _write(folder: Path, runs: Sequence[Encode]) -> Path:
    facts = machine.facts()
    folder.mkdir(parents=True, exist_ok=True)
    day = datetime.fromisoformat(facts["at"]).date().isoformat()
    path = folder / f"quality-{day}-{machine.label(facts['machine'])}.jsonl"
    with path.open("a") as file:
        file.writelines(json.dumps(_row(run, facts)) + "\n" for run in runs)
    return path


def _row(run: Encode, facts: dict[str, Any]) -> dict[str, Any]:
    return {"benchmark": "quality"} | asdict(replace(run, ssim=round(run.ssim, 6))) | facts
