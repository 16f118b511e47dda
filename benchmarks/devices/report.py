"""Output of the comparison: a line per measurement, then rows, a Markdown table and a chart."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, record
from benchmarks.devices.measurement import Measurement, copy_share, speed_up, to_row
from benchmarks.devices.parity import ENCODER_TOLERANCE_DB, MIN_PSNR_DB

STAGE_COLOURS = ("#2a78b8", "#d98b2b", "#6a9a58", "#8a5fa8")


def draw_chart(path: Path, measurements: Sequence[Measurement], title: str) -> str | None:
    """One bar per figure, its spread as a whisker, on a scale of powers of ten; paths whose gate failed are left out.
    Writes a PNG, or says why not."""
    try:
        import matplotlib as mpl
    except ImportError:
        return "no chart: matplotlib is not installed"
    shown = [figure for figure in measurements if figure.is_valid and figure.stage != "copy"]
    if not shown:
        return "no chart: nothing was measured"
    mpl.use("Agg")
    from matplotlib import pyplot

    chart, axes = pyplot.subplots(figsize=(10, 1.2 + 0.32 * len(shown)), layout="constrained")
    stages = list(dict.fromkeys(figure.stage for figure in shown))
    for place, one in enumerate(shown):
        spread = [[one.fps - min(one.rates)], [max(one.rates) - one.fps]]
        axes.barh(
            place, one.fps, color=STAGE_COLOURS[stages.index(one.stage) % len(STAGE_COLOURS)], xerr=spread, capsize=3
        )
        axes.text(max(one.rates), place, f" {one.fps:,.0f}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [f"{one.stage}: {one.case}: {one.path}" for one in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("frames/s (median; whisker: least to most)")
    axes.set_title(title, fontsize=9)
    chart.savefig(path, dpi=120)
    pyplot.close(chart)
    return None


TABLE_HEAD = (
    "| case | path | frames/s: median (least to most) | cold | bytes in > out | GB/s | of copy | J/frame GPU, CPU | \
dB, SSIM | times the CPU |"
)


def format_line(measurement: Measurement) -> str:
    """One line; no speed-up, which needs the other figures."""
    what = f"{measurement.stage}, {measurement.case}, {measurement.path}"
    if measurement.absent:
        return f"{what}: absent: {measurement.absent}"
    return (
        f"{what}: {_format_rates(measurement)} frames/s, {measurement.workers} at a time{_format_parity(measurement)}"
    )


def write_report(folder: Path, measurements: Sequence[Measurement], facts: dict[str, Any]) -> None:
    """Rows, table and chart into the folder, and the table and their paths to the terminal."""
    where = machine.label(facts["machine"]) + ("-" + _slug(facts["machine"]["gpu"]) if facts["machine"]["gpu"] else "")
    rows = record.write_rows(folder, where, [to_row(figure, measurements) for figure in measurements], facts)
    text = format_markdown(measurements, facts)
    rows.with_suffix(".md").write_text(text)
    print(f"\n{text}\nrows: {rows}\ntable: {rows.with_suffix('.md')}")
    skipped = draw_chart(rows.with_suffix(".png"), measurements, f"{where}, {facts['commit'][:12]}")
    print(skipped or f"chart: {rows.with_suffix('.png')}")


def format_markdown(measurements: Sequence[Measurement], facts: dict[str, Any]) -> str:
    where, gpu = facts["machine"], facts["machine"]["gpu"] or f"none: {facts['machine']['gpu_absent']}"
    versions = ", ".join(f"{name} {value}" for name, value in facts["versions"].items() if value)
    lines = [
        f"# Devices, {datetime.fromisoformat(facts['at']).date()}",
        "",
        f"{where['cores']} cores of {where['cpu']}; GPU: {gpu}. Commit {facts['commit']}. {versions}.",
        f"No speed-up is told where a GPU's luma is below {MIN_PSNR_DB:g} dB of the CPU's; NVENC may instead be "
        f"{ENCODER_TOLERANCE_DB:g} dB below what the CPU's encoder keeps of the same pictures. "
        f"Stages of the CPU and renders: {facts['cpu_workers']} processes; of the GPU: one. "
        f"Cold is the first call, in seconds, and its frames.",
    ]
    for stage in dict.fromkeys(figure.stage for figure in measurements):
        of_stage = [figure for figure in measurements if figure.stage == stage]
        made = [_table_row(figure, measurements) for figure in of_stage if not figure.absent]
        lines += ["", f"## {stage}"] + (["", TABLE_HEAD, "| --- " * 10 + "|", *made] if made else [])
        lines += [""] + [f"- {figure.case}, {figure.path}: {figure.absent}" for figure in of_stage if figure.absent]
    return "\n".join(lines).rstrip() + "\n"


def _table_row(figure: Measurement, figures: Sequence[Measurement]) -> str:
    faster, share = speed_up(figure, figures), copy_share(figure, figures)
    cells = [
        figure.case,
        figure.path,
        _format_rates(figure),
        f"{figure.cold_s:.3f} s ({figure.first_frames})",
        f"{figure.bytes_in:,} > {figure.bytes_out:,}",
        f"{figure.gb_s:.2f}",
        "" if share is None else f"{share:.0%}",
        f"{_format_joules(figure.joules.gpu)}, {_format_joules(figure.joules.cpu)}",
        f"{figure.parity.psnr:.1f}, {figure.parity.ssim:.4f}" if figure.parity else "",
        _format_speed_up(figure, faster),
    ]
    return f"| {' | '.join(cells)} |"


def _format_speed_up(figure: Measurement, faster: float | None) -> str:
    if faster is None:
        return "" if figure.is_valid else "gate failed"
    one = figure.notes.get("times_one_session")
    return f"{faster:.2f}" + (f" ({one:.2f} times one session)" if one else "")


def _format_rates(figure: Measurement) -> str:
    return f"{figure.fps:,.1f} ({min(figure.rates):,.1f} to {max(figure.rates):,.1f})"


def _format_parity(figure: Measurement) -> str:
    if figure.parity is None:
        return ""
    return f", {figure.parity.psnr:.1f} dB{'' if figure.is_valid else ': THE GATE FAILED'}"


def _format_joules(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())
