"""Plans the panels of a grid: whether its datasets can be shown together, their colours and labels."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from service.errors import InvalidRequest, invalid_field
from service.plan.colour import JPEG_COLOUR, SDR_COLOUR, Colour, Hdr
from service.plan.facts import DatasetFacts
from service.plan.geometry import Size
from service.plan.grid import Grid, GridSpec, Panel
from service.plan.overlay import CHARACTERS, Overlay, text_size
from service.plan.tone import Tone


def find_panels(spec: GridSpec, datasets: Sequence[DatasetFacts]) -> tuple[DatasetFacts, ...]:
    """The datasets of the panels in order. Raises InvalidRequest, pointing into `#/grid/dataset_ids`."""
    known = {dataset.id: dataset for dataset in datasets}
    for number, wanted in enumerate(spec.datasets):
        pointer = f"#/grid/dataset_ids/{number}"
        if wanted not in known:
            raise invalid_field(pointer, "the experiment has no such dataset", "no_dataset")
        if wanted in spec.datasets[:number]:
            raise invalid_field(pointer, "this dataset has a panel already", "duplicate")
    return tuple(known[wanted] for wanted in spec.datasets)


def plan_grid(spec: GridSpec, size: Size, panels: Sequence[tuple[DatasetFacts, Tone | None]]) -> Grid:
    """The grid of a render; `size` is that of a panel, `panels` are their datasets, each with its tone.

    Raises InvalidRequest, pointing into `#/grid`, if the datasets cannot be brought together as requested.
    """
    first, _ = panels[0]
    for number, (dataset, _) in enumerate(panels):
        _require_alignable(spec, number, dataset, first)
    within = round(spec.within_seconds * 1_000_000) if spec.within_seconds is not None else None
    return Grid(
        spec.shape[0],
        *size,
        tuple(_panel(spec, dataset, tone, size) for dataset, tone in panels),
        spec.align,
        within if spec.align == "captured" else None,
    )


def _panel(spec: GridSpec, dataset: DatasetFacts, tone: Tone | None, size: Size) -> Panel:
    label = _label(dataset.name, size) if spec.labels else None
    return Panel(dataset.kind, tone, label, dataset.pixel_aspect is not None)


def _require_alignable(spec: GridSpec, number: int, dataset: DatasetFacts, first: DatasetFacts) -> None:
    pointer = f"#/grid/dataset_ids/{number}"
    if dataset.bucket != first.bucket:
        detail = f"its frames are in the bucket {dataset.bucket}, those of the first dataset in {first.bucket}"
        raise invalid_field(pointer, detail, "other_bucket")
    if spec.align == "captured" and (error := dataset.capture_times_error(pointer, "align by index")):
        raise error


def _label(name: str, size: Size) -> Overlay | None:
    """The name of a dataset, in the upper left corner of its panel. Letters that cannot be drawn lose their accents, or
    are left out."""
    text = "".join(letter for letter in unicodedata.normalize("NFKD", name) if letter in CHARACTERS).strip()
    return Overlay(False, False, False, text, None, "top_left", min(text_size(size[1]), size[1])) if text else None


def choose_grid_colour(datasets: Sequence[DatasetFacts], hdr: Hdr | None, of_videos: Colour | None) -> Colour | None:
    """What source videos are converted to, so that all panels have the same colours; None if there are none.

    `of_videos` is what a render of videos only would have. Raises InvalidRequest, pointing at `#/hdr`, for HDR that
    should be kept beside image frames.
    """
    kinds = {dataset.kind for dataset in datasets}
    if kinds == {"frames"}:
        return None
    if kinds == {"video"}:
        return of_videos or SDR_COLOUR
    if hdr == "keep":
        detail = "image frames are SDR, and all panels of a grid have the same colours: leave hdr out"
        raise invalid_field("#/hdr", detail, "no_hdr")
    return JPEG_COLOUR


@contextmanager
def errors_at_panel(spec: GridSpec | None, number: int) -> Iterator[None]:
    """Errors about `#/dataset_id` are about the dataset of this panel, which the request names in its grid."""
    try:
        yield
    except InvalidRequest as refused:
        if spec is None:
            raise
        errors = tuple(
            replace(error, pointer=f"#/grid/dataset_ids/{number}") if error.pointer == "#/dataset_id" else error
            for error in refused.errors
        )
        raise InvalidRequest(refused.detail, errors) from refused
