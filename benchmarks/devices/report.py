"""Output of the comparison: one line per measurement, then rows, a Markdown table and a chart."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, record
from benchmarks.devices.measurement import Measurement, copy_share, speed_up, to_row
from benchmarks.devices.parity import ENCODER_TOLERANCE_DB, MIN_PSNR_DB

STAGE_COLOURS = ("#2a78b8", "#d98b2b", "#6a9a58", "#8a5fa8")


def draw_chart(path: Path, measurements: Sequence[Measurement], title: str) -> str | None:
    """Write a PNG with one bar per valid measurement, range as a whisker, on a logarithmic scale. Returns the reason if
    there is none."""
    try:
        import matplotlib as mpl
    except ImportError:
        return "no chart: matplotlib is not installed"
    shown = [one for one in measurements if one.is_valid and one.stage != "copy"]
    if not shown:
        return "no chart: nothing was measured"
    mpl.use("Agg")
    from matplotlib import pyplot

    chart, axes = pyplot.subplots(figsize=(10, 1.2 + 0.32 * len(shown)), layout="constrained")
    stages = list(dict.fromkeys(one.stage for one in shown))
    for position, one in enumerate(shown):
        whisker = [[one.fps - min(one.rates)], [max(one.rates) - one.fps]]
        colour = STAGE_COLOURS[stages.index(one.stage) % len(STAGE_COLOURS)]
        axes.barh(position, one.fps, color=colour, xerr=whisker, capsize=3)
        axes.text(max(one.rates), position, f" {one.fps:,.0f}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [f"{one.stage}: {one.case}: {one.path}" for one in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("frames/s (median; whisker: minimum to maximum)")
    axes.set_title(title, fontsize=9)
    chart.savefig(path, dpi=120)
    pyplot.close(chart)
    return None


TABLE_HEAD = (
    "| case | path | frames/s: median (min to max) | cold | bytes in > out | GB/s | of copy | J/frame GPU, CPU | \
dB, SSIM | speed-up over the CPU |"
)


def format_line(measurement: Measurement) -> str:
    """One line, without the speed-up, which needs the other measurements."""
    what = f"{measurement.stage}, {measurement.case}, {measurement.path}"
    if measurement.absent_reason:
        return f"{what}: absent: {measurement.absent_reason}"
    return (
        f"{what}: {_format_rates(measurement)} frames/s, processes: {measurement.workers}{_format_parity(measurement)}"
    )


def write_report(folder: Path, measurements: Sequence[Measurement], facts: dict[str, Any]) -> None:
    """Write rows, table and chart to the folder; print the table and the paths."""
    gpu, label = facts["machine"]["gpu"], machine.label(facts["machine"])
    if gpu:
        label += "-" + "-".join(re.findall(r"[^\W_]+", gpu.lower()))
    rows = record.write_rows(folder, label, [to_row(one, measurements) for one in measurements], facts)
    text = format_markdown(measurements, facts)
    rows.with_suffix(".md").write_text(text)
    print(f"\n{text}\nrows: {rows}\ntable: {rows.with_suffix('.md')}")
    skipped = draw_chart(rows.with_suffix(".png"), measurements, f"{label}, {facts['commit'][:12]}")
    print(skipped or f"chart: {rows.with_suffix('.png')}")


def format_markdown(measurements: Sequence[Measurement], facts: dict[str, Any]) -> str:
    cores, cpu = facts["machine"]["cores"], facts["machine"]["cpu"]
    gpu = facts["machine"]["gpu"] or f"none: {facts['machine']['gpu_absent']}"
    versions = ", ".join(f"{name} {value}" for name, value in facts["versions"].items() if value)
    lines = [
        f"# Devices, {datetime.fromisoformat(facts['at']).date()}",
        "",
        f"{cores} cores of {cpu}; GPU: {gpu}. Commit {facts['commit']}. {versions}.",
        f"No speed-up is given if the GPU's luma PSNR against the CPU is below {MIN_PSNR_DB:g} dB; for NVENC, if it is "
        f"more than {ENCODER_TOLERANCE_DB:g} dB below that of libx264 on the same frames. "
        f"CPU stages and renders use {facts['cpu_workers']} processes, GPU stages one. "
        f"Cold: seconds and frames of the first call.",
    ]
    for stage in dict.fromkeys(one.stage for one in measurements):
        of_stage = [one for one in measurements if one.stage == stage]
        rows = [_table_row(one, measurements) for one in of_stage if not one.absent_reason]
        lines += ["", f"## {stage}"] + (["", TABLE_HEAD, "| --- " * 10 + "|", *rows] if rows else [])
        lines += [""] + [f"- {one.case}, {one.path}: {one.absent_reason}" for one in of_stage if one.absent_reason]
    return "\n".join(lines).rstrip() + "\n"


def _table_row(measurement: Measurement, measurements: Sequence[Measurement]) -> str:
    share, joules, parity = copy_share(measurement, measurements), measurement.joules, measurement.parity
    cells = [
        measurement.case,
        measurement.path,
        _format_rates(measurement),
        f"{measurement.cold_s:.3f} s ({measurement.first_frames})",
        f"{measurement.bytes_in:,} > {measurement.bytes_out:,}",
        f"{measurement.gb_s:.2f}",
        "" if share is None else f"{share:.0%}",
        f"{_format_joules(joules.gpu)}, {_format_joules(joules.cpu)}",
        f"{parity.psnr:.1f}, {parity.ssim:.4f}" if parity else "",
        _format_speed_up(measurement, speed_up(measurement, measurements)),
    ]
    return f"| {' | '.join(cells)} |"


def _format_speed_up(measurement: Measurement, ratio: float | None) -> str:
    if ratio is None:
        return "" if measurement.is_valid else "gate failed"
    sessions_ratio = measurement.notes.get("times_one_session")
    return f"{ratio:.2f}" + (f" ({sessions_ratio:.2f} times one session)" if sessions_ratio else "")


def _format_rates(measurement: Measurement) -> str:
    return f"{measurement.fps:,.1f} ({min(measurement.rates):,.1f} to {max(measurement.rates):,.1f})"


def _format_parity(measurement: Measurement) -> str:
    if measurement.parity is None:
        return ""
    return f", {measurement.parity.psnr:.1f} dB{'' if measurement.is_valid else ': THE GATE FAILED'}"


def _format_joules(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
