"""The comparison for people: a line as each figure is made, and a Markdown table, rows and a chart at the end."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, record
from benchmarks.devices.chart import draw
from benchmarks.devices.figure import Figure, copy_share, row, speed_up
from benchmarks.devices.gate import ENCODER_DB, LEAST_DB

HEAD = "| case | path | frames/s: median (least to most) | cold | bytes in > out | GB/s | of copy | J/frame GPU, CPU | \
dB, SSIM | times the CPU |"


def told(figure: Figure) -> str:
    """One line; no speed-up, which needs the other figures."""
    what = f"{figure.stage}, {figure.case}, {figure.path}"
    if figure.absent:
        return f"{what}: absent: {figure.absent}"
    return f"{what}: {_rates(figure)} frames/s, {figure.workers} at a time{_gate(figure)}"


def write(folder: Path, figures: Sequence[Figure], facts: dict[str, Any]) -> None:
    """Rows, table and chart into the folder, and the table and their paths to the terminal."""
    where = machine.label(facts["machine"]) + ("-" + _short(facts["machine"]["gpu"]) if facts["machine"]["gpu"] else "")
    rows = record.write_figures(folder, where, [row(figure, figures) for figure in figures], facts)
    text = markdown(figures, facts)
    rows.with_suffix(".md").write_text(text)
    print(f"\n{text}\nrows: {rows}\ntable: {rows.with_suffix('.md')}")
    skipped = draw(rows.with_suffix(".png"), figures, f"{where}, {facts['commit'][:12]}")
    print(skipped or f"chart: {rows.with_suffix('.png')}")


def markdown(figures: Sequence[Figure], facts: dict[str, Any]) -> str:
    where, gpu = facts["machine"], facts["machine"]["gpu"] or f"none: {facts['machine']['gpu_absent']}"
    versions = ", ".join(f"{name} {value}" for name, value in facts["versions"].items() if value)
    lines = [
        f"# Devices, {datetime.fromisoformat(facts['at']).date()}",
        "",
        f"{where['cores']} cores of {where['cpu']}; GPU: {gpu}. Commit {facts['commit']}. {versions}.",
        f"No speed-up is told where a GPU's luma is below {LEAST_DB:g} dB of the CPU's; NVENC may instead be "
        f"{ENCODER_DB:g} dB below what the CPU's encoder keeps of the same pictures. Stages of the CPU and renders: "
        f"{facts['cpu_workers']} processes; of the GPU: one. Cold is the first call, in seconds, and its frames.",
    ]
    for stage in dict.fromkeys(figure.stage for figure in figures):
        of_stage = [figure for figure in figures if figure.stage == stage]
        made = [_line(figure, figures) for figure in of_stage if not figure.absent]
        lines += ["", f"## {stage}"] + (["", HEAD, "| --- " * 10 + "|", *made] if made else [])
        lines += [""] + [f"- {figure.case}, {figure.path}: {figure.absent}" for figure in of_stage if figure.absent]
    return "\n".join(lines).rstrip() + "\n"


def _line(figure: Figure, figures: Sequence[Figure]) -> str:
    faster, share = speed_up(figure, figures), copy_share(figure, figures)
    cells = [
        figure.case,
        figure.path,
        _rates(figure),
        f"{figure.cold_s:.3f} s ({figure.first_frames})",
        f"{figure.bytes_in:,} > {figure.bytes_out:,}",
        f"{figure.gb_s:.2f}",
        "" if share is None else f"{share:.0%}",
        f"{_joules(figure.joules.gpu)}, {_joules(figure.joules.cpu)}",
        f"{figure.parity.psnr:.1f}, {figure.parity.ssim:.4f}" if figure.parity else "",
        _times(figure, faster),
    ]
    return f"| {' | '.join(cells)} |"


def _times(figure: Figure, faster: float | None) -> str:
    if faster is None:
        return "" if figure.sound else "gate failed"
    one = figure.notes.get("times_one_session")
    return f"{faster:.2f}" + (f" ({one:.2f} times one session)" if one else "")


def _rates(figure: Figure) -> str:
    return f"{figure.fps:,.1f} ({min(figure.rates):,.1f} to {max(figure.rates):,.1f})"


def _gate(figure: Figure) -> str:
    if figure.parity is None:
        return ""
    return f", {figure.parity.psnr:.1f} dB{'' if figure.sound else ': THE GATE FAILED'}"


def _joules(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _short(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())
