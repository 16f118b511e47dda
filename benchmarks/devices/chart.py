"""The rates as a picture."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.devices.figure import Measurement

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
