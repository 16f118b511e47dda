"""The ratios as a picture."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import SpeedRatio

RIVAL_COLOURS = {"ffmpeg": "#2a78b8", "old way": "#d98b2b", "script": "#6a9a58"}


def draw_chart(path: Path, comparisons: Sequence[SpeedRatio], title: str) -> None:
    """One bar per ratio, its spread as a whisker, its target as a tick. Writes a PNG."""
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
    axes.set_xlabel("times faster (median; whisker: least to most; black: target)")
    axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
