"""Tables and chart of the comparison: medians, ratios with their range, targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.cases import Case, Contender
from benchmarks.record import RenderRun
from benchmarks.render.parity import quality_per_megabyte


@dataclass(frozen=True, slots=True)
class SpeedRatio:
    """Speed-up over a rival: rival seconds / Reelmill seconds, one value per repetition."""

    case: str
    rival: Contender
    target: float
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def is_reached(self) -> bool:
        return self.median >= self.target

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({min(self.values):.2f} to {max(self.values):.2f})"


def speed_ratios(case: Case, runs: Sequence[RenderRun]) -> list[SpeedRatio]:
    """The ratio to each rival; runs of the same repetition, which are close in time, are compared."""
    seconds = {(run.contender, run.repetition): run.seconds for run in runs if run.case == case.name}
    repetitions = sorted({run.repetition for run in runs if run.case == case.name})
    return [
        SpeedRatio(case.name, rival, target, tuple(seconds[rival, n] / seconds["reelmill", n] for n in repetitions))
        for rival, target in case.targets.items()
    ]


def print_report(console: Console, runs: Sequence[RenderRun], ratios: Sequence[SpeedRatio]) -> None:
    """Print both tables, and the stage times of Reelmill's median runs."""
    console.print(_contender_table(runs))
    console.print(_ratio_table(ratios))
    for case in dict.fromkeys(run.case for run in runs):
        ours = [run for run in runs if (run.case, run.contender) == (case, "reelmill")]
        middle = sorted(ours, key=lambda run: run.seconds)[len(ours) // 2]
        stages = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in middle.stages.items())
        console.print(f"{case}: slot seconds of the median run: {stages}", highlight=False)


def print_worst(console: Console, cases: Sequence[Case], ratios: Sequence[SpeedRatio]) -> None:
    """Print the least ratio over the kinds of footage, where a request was measured on several."""
    names: dict[str, list[str]] = {}
    for case in cases:
        names.setdefault(case.name.removesuffix(f" {case.footage}"), []).append(case.name)
    for request, kinds in names.items():
        for rival in dict.fromkeys(ratio.rival for ratio in ratios if ratio.case in kinds and len(kinds) > 1):
            worst = min((r for r in ratios if r.case in kinds and r.rival == rival), key=lambda r: r.median)
            console.print(f"{request}: worst of {len(kinds)} kinds of footage: {worst} {rival} ({worst.case})")


def _contender_table(runs: Sequence[RenderRun]) -> Table:
    table = Table("case", "contender", title="Medians over the repetitions")
    for column in ("seconds", "frames/s", "CPU s", "MB", "SSIM", "SSIM dB/MB"):
        table.add_column(column, justify="right")
    groups: dict[tuple[str, str], list[RenderRun]] = {}
    for run in runs:
        groups.setdefault((run.case, run.contender), []).append(run)
    for (case, contender), group in groups.items():
        table.add_row(case, contender, *_median_cells(group))
    return table


def _median_cells(group: Sequence[RenderRun]) -> list[str]:
    seconds, last = [run.seconds for run in group], group[-1]
    return [
        f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
        f"{last.frames / median(seconds):.1f}",
        f"{median(run.cpu_seconds for run in group):.2f}",
        f"{last.bytes / 1e6:.2f}",
        f"{last.ssim:.4f}",
        f"{quality_per_megabyte(last):.2f}",
    ]


def _ratio_table(ratios: Sequence[SpeedRatio]) -> Table:
    table = Table("case", "rival", title="How many times faster Reelmill is")
    for column in ("ratio", "target", ""):
        table.add_column(column, justify="right")
    for ratio in ratios:
        verdict = "[green]reached[/]" if ratio.is_reached else "[yellow]missed[/]"
        table.add_row(ratio.case, ratio.rival, str(ratio), f"{ratio.target:.2f}x", verdict)
    return table


RIVAL_COLOURS = {"ffmpeg": "#2a78b8", "old way": "#d98b2b", "script": "#6a9a58"}


def draw_chart(path: Path, comparisons: Sequence[SpeedRatio], title: str) -> None:
    """Write a PNG with one bar per ratio: range as a whisker, target as a black tick."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 1.4 + 0.55 * len(comparisons)), layout="constrained")
    for place, ratio in enumerate(comparisons):
        below, above = ratio.median - min(ratio.values), max(ratio.values) - ratio.median
        axes.barh(place, ratio.median, color=RIVAL_COLOURS[ratio.rival], xerr=[[below], [above]], capsize=4)
        axes.plot([ratio.target] * 2, [place - 0.4, place + 0.4], color="black", linewidth=2)
        axes.text(0.03, place, f"{ratio.median:.2f}x", va="center", color="white", fontweight="bold")
    axes.axvline(1, color="grey", linestyle=":")
    axes.set_yticks(range(len(comparisons)), [f"{ratio.case} : {ratio.rival}" for ratio in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel("times faster (median; whisker: minimum to maximum; black: target)")
    axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
