"""One render, planned: a request and the facts it is planned from become a RenderPlan, or an error.

`plan` is a pure function. Errors name fields of the request by JSON pointer, under the names of the HTTP body.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.errors import Conflict, InvalidRequest, NotFound, invalid_field
from service.plan.facts import DatasetFacts, RenderFacts
from service.plan.placement import SourceMedia, Stages, choose_placement, describe_stages
from service.plan.render_plan import Gaps, RenderOptions
from service.plan.requests.options import geometry_of, options_of
from service.plan.requests.panels import errors_at_panel, find_panels
from service.plan.requests.request import RenderRequest
from service.plan.segments import Selection, frame_range, render_key, select_frames
from service.plan.timing import rate_lasting


@dataclass(frozen=True, slots=True)
class PlannedDataset:
    """A dataset of a render. `gaps` says what its positions without a frame are; `none` if there are none."""

    facts: DatasetFacts
    gaps: Gaps


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """What will be rendered. `key` is equal for equal videos; `stages` is the device and the reason of each stage.

    `gaps` is that of the dataset, as in PlannedDataset. `beside` are the datasets of the panels of a grid after the
    first, which is `dataset`.
    """

    dataset: DatasetFacts
    options: RenderOptions
    selection: Selection
    key: str
    stages: Stages
    priority: int = 0
    gaps: Gaps = "numbers"
    beside: tuple[PlannedDataset, ...] = ()

    @property
    def datasets(self) -> tuple[DatasetFacts, ...]:
        """All that are shown."""
        return self.dataset, *(each.facts for each in self.beside)


def plan(request: RenderRequest, facts: RenderFacts) -> RenderPlan:
    """Plan a render.

    Raises NotFound when there is no such experiment, Conflict while the dataset is being scanned, and InvalidRequest,
    with a pointer to the field, for everything that cannot be rendered as requested.
    """
    datasets = _find_datasets(request, facts)
    for number, each in enumerate(datasets):
        with errors_at_panel(request.grid, number):
            _require_ready(each)
    dataset, *beside = datasets
    _check_gaps(request, datasets)
    with errors_at_panel(request.grid, 0):
        geometry = geometry_of(request, dataset)
    options = options_of(request, datasets, geometry, facts)
    with errors_at_panel(request.grid, 0):
        selection = _selection(request, dataset, facts, binned=options.bins is not None)
    if request.duration_seconds is not None:
        options = replace(options, fps=rate_lasting(selection.output_count(), request.duration_seconds))
    if selection.source_count() * len(datasets) > facts.limits.max_frames:
        raise _too_many_frames(selection, len(datasets), facts.limits.max_frames)
    _require_few_times(request, beside, facts.limits.max_frames)
    cluster = facts.cluster
    square_pixels = dataset.stored_size in (None, (dataset.width, dataset.height))
    source = SourceMedia(dataset.formats, *geometry.cropped_size, square_pixels)
    placement = choose_placement(cluster.capabilities, options, source, request.device, cluster.slots_per_device)
    options = replace(options, family=placement.backend)
    gaps, *gaps_beside = [_gaps(request, each) for each in datasets]
    key = render_key(dataset, selection, options, gaps, list(zip(beside, gaps_beside, strict=True)))
    stages = describe_stages(options, placement)
    planned = tuple(map(PlannedDataset, beside, gaps_beside))
    return RenderPlan(dataset, options, selection, key, stages, request.priority, gaps, planned)


def _find_datasets(request: RenderRequest, facts: RenderFacts) -> Sequence[DatasetFacts]:
    """The one dataset that the request means, or those of its grid in order."""
    if not facts.experiment_exists:
        raise NotFound("there is no such experiment")
    if request.grid:
        if request.dataset_id not in (None, request.grid.datasets[0]):
            detail = "the first dataset of the grid leads: name that one here, or none"
            raise invalid_field("#/dataset_id", detail, "exclusive")
        return find_panels(request.grid, facts.datasets)
    if not facts.datasets:
        if request.dataset_id is not None:
            raise invalid_field("#/dataset_id", "no such dataset here", "no_dataset")
        detail = "the experiment has no datasets: register one first"
        raise invalid_field("#/experiment_id", detail, "no_dataset")
    if len(facts.datasets) > 1:
        names = ", ".join(f"{dataset.name} ({dataset.id})" for dataset in facts.datasets[:10])
        raise invalid_field("#/dataset_id", f"the experiment has several datasets, name one: {names}", "ambiguous")
    return facts.datasets


def _require_ready(dataset: DatasetFacts) -> None:
    if dataset.state == "scanning":
        raise Conflict("the dataset is being scanned: try again when its state is ready", headers={"Retry-After": "2"})
    if dataset.state != "ready":
        reason = dataset.error or "it has never been scanned: upload frames, then scan it"
        raise invalid_field("#/dataset_id", f"the dataset is {dataset.state}: {reason}", "dataset_not_ready")
    if not dataset.width or not dataset.height:
        raise invalid_field("#/dataset_id", "no frame of the dataset can be read", "unreadable_dataset")


def _check_gaps(request: RenderRequest, datasets: Sequence[DatasetFacts]) -> None:
    """Gaps are those of the first dataset; and of other panels, if they show the same positions."""
    first, *beside = datasets
    if request.gaps == "interval":
        _require_interval(request, first)
    if request.missing != "fail":
        return
    if count := first.missing_frames(request.gaps):
        raise invalid_field("#/missing", _gap_sentence(request, first, count), "gap")
    for number, dataset in enumerate(beside, 1):
        if request.grid and request.grid.align == "index" and (count := dataset.missing_frames(request.gaps)):
            pointer = f"#/grid/dataset_ids/{number}"
            raise invalid_field(pointer, _gap_sentence(request, dataset, count), "gap")


def _gap_sentence(request: RenderRequest, dataset: DatasetFacts, count: int) -> str:
    first = f"frame number {dataset.first_gap}"
    if request.gaps == "interval" and dataset.cadence:
        first = f"a frame after index {dataset.cadence.gaps[0]['after_index']}"
    return f"{first} is missing ({count} in all) and missing is fail"


def _require_interval(request: RenderRequest, dataset: DatasetFacts) -> None:
    if dataset.cadence is None:
        detail = "the frames were not captured at one interval, or do not say when: use numbers or none"
        raise invalid_field("#/gaps", detail, "no_interval")
    if request.frames and request.frames.window:
        detail = "gaps by interval have positions, not capture times: choose frames by start and stop"
        raise invalid_field("#/gaps", detail, "exclusive")


def _selection(request: RenderRequest, dataset: DatasetFacts, facts: RenderFacts, *, binned: bool) -> Selection:
    start, stop = frame_range(request.frames, dataset, facts.captured, request.missing, request.gaps)
    return select_frames(
        dataset.position_count(request.missing, request.gaps), request.decimation_factor, start, stop, binned
    )


def _gaps(request: RenderRequest, dataset: DatasetFacts) -> Gaps:
    return request.gaps if dataset.counts_gaps(request.missing, request.gaps) else "none"


def _require_few_times(request: RenderRequest, beside: Sequence[DatasetFacts], limit: int) -> None:
    """All capture times of these datasets are held in memory. Raises InvalidRequest."""
    count = sum(dataset.frame_count for dataset in beside)
    if request.grid and request.grid.align == "captured" and count > limit:
        detail = f"the other datasets have {count} frames, and at most {limit} can be searched: align by index"
        raise invalid_field("#/grid/align", detail, "too_many_frames")


def _too_many_frames(selection: Selection, panels: int, limit: int) -> InvalidRequest:
    way_out = "choose fewer with frames" if selection.binned else "raise decimation_factor"
    detail = f"{selection.source_count() * panels} frames are more than the {limit} of one render: {way_out}"
    return invalid_field("#/decimation_factor", detail, "too_many_frames")
