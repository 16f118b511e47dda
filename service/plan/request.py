"""One render, planned: a request and the facts it is planned from become a RenderPlan, or an error.

`plan` is a pure function. Errors name fields of the request by JSON pointer, under the names of the HTTP body.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from uuid import UUID

from service.errors import Conflict, InvalidRequest, NotFound, invalid_field
from service.plan.colour import Hdr, choose_colour
from service.plan.facts import DatasetFacts, RenderFacts
from service.plan.formats import (
    BLACK,
    EFFORTS,
    Codec,
    Container,
    Effort,
    Output,
    PixelFormat,
    canonical_outputs,
    choose_container,
    choose_pixel_format,
    format_with_overlay,
    formats_after_rotation,
    formats_after_tone,
    formats_of_rgb_samples,
    formats_over_background,
    has_deep_frames,
    require_brightness,
)
from service.plan.geometry import (
    CropSpec,
    DecimationMode,
    Geometry,
    bins_of,
    crop_in_stored_pixels,
    crop_of,
    native_size,
    output_size,
    unscaled_size,
)
from service.plan.overlay import Overlay, OverlaySpec, drawable_text, scale_bar, text_size
from service.plan.placement import DevicePreference, SourceMedia, Stages, choose_placement, describe_stages
from service.plan.render_plan import CapturedTiming, Deinterlace, FramePolicy, Gaps, MismatchPolicy, RenderOptions
from service.plan.segments import FrameRangeSpec, Selection, frame_range, render_key, select_frames
from service.plan.timing import Timing, nominal_rate, rate_lasting
from service.plan.tone import Tone, ToneSpec, resolve_tone

# What ffv1 holds as it is; signed, deeper and float samples need a tone.
LOSSLESS_DTYPES = ("uint8", "uint16")

# The quality of every ffv1 render, whatever was requested.
LOSSLESS_QUALITY = 100


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What a caller asks for. Values are in the ranges of the HTTP body; `background` is #rrggbb."""

    experiment_id: UUID
    decimation_factor: int
    fps: float | None = None
    dataset_id: UUID | None = None
    frames: FrameRangeSpec | None = None
    width: int | None = None
    height: int | None = None
    scale: float | None = None
    codec: Codec = "h264"
    quality: int = 70
    effort: Effort = "balanced"
    missing: FramePolicy = "skip"
    changed: FramePolicy = "fail"
    corrupt: FramePolicy = "hold"
    mismatch: MismatchPolicy = "pad"
    device: DevicePreference = "auto"
    priority: int = 0
    tone: ToneSpec | None = None
    background: str = BLACK
    container: Container | None = None
    crop: CropSpec | None = None
    rotate: int = 0
    decimation_mode: DecimationMode = "drop"
    duration_seconds: float | None = None
    timing: Timing = "uniform"
    speed: float | None = None
    overlay: OverlaySpec | None = None
    outputs: tuple[Output, ...] = ()
    hdr: Hdr | None = None
    deinterlace: Deinterlace = "auto"
    gaps: Gaps = "numbers"


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """What will be rendered. `key` is equal for equal videos; `stages` is the device and the reason of each stage.

    `gaps` says what the positions without a frame are; `none` if there are none.
    """

    dataset: DatasetFacts
    options: RenderOptions
    selection: Selection
    key: str
    stages: Stages
    priority: int = 0
    gaps: Gaps = "numbers"


def plan(request: RenderRequest, facts: RenderFacts) -> RenderPlan:
    """Plan a render.

    Raises NotFound when there is no such experiment, Conflict while the dataset is being scanned, and InvalidRequest,
    with a pointer to the field, for everything that cannot be rendered as requested.
    """
    dataset = _find_dataset(request, facts)
    _check_state(request, dataset)
    geometry = _geometry(request, dataset)
    options = _options(request, dataset, geometry, facts)
    selection = _selection(request, dataset, facts, binned=options.bins is not None)
    if request.duration_seconds is not None:
        options = replace(options, fps=rate_lasting(selection.output_count(), request.duration_seconds))
    if selection.source_count() > facts.limits.max_frames:
        raise _too_many_frames(selection, facts.limits.max_frames)
    cluster = facts.cluster
    square_pixels = dataset.stored_size in (None, (dataset.width, dataset.height))
    source = SourceMedia(dataset.formats, *geometry.cropped_size, square_pixels)
    placement = choose_placement(cluster.capabilities, options, source, request.device, cluster.slots_per_device)
    options = replace(options, family=placement.backend)
    gaps = request.gaps if dataset.counts_gaps(request.missing, request.gaps) else "none"
    key = render_key(dataset, selection, options, gaps)
    stages = describe_stages(options, placement)
    return RenderPlan(dataset, options, selection, key, stages, request.priority, gaps)


def _find_dataset(request: RenderRequest, facts: RenderFacts) -> DatasetFacts:
    """The one dataset that the request means."""
    if not facts.experiment_exists:
        raise NotFound("there is no such experiment")
    if not facts.datasets:
        if request.dataset_id is not None:
            raise invalid_field("#/dataset_id", "no such dataset here", "no_dataset")
        detail = "the experiment has no datasets: register one first"
        raise invalid_field("#/experiment_id", detail, "no_dataset")
    if len(facts.datasets) > 1:
        names = ", ".join(f"{dataset.name} ({dataset.id})" for dataset in facts.datasets[:10])
        raise invalid_field("#/dataset_id", f"the experiment has several datasets, name one: {names}", "ambiguous")
    return facts.datasets[0]


def _check_state(request: RenderRequest, dataset: DatasetFacts) -> None:
    if dataset.state == "scanning":
        raise Conflict("the dataset is being scanned: try again when its state is ready", headers={"Retry-After": "2"})
    if dataset.state != "ready":
        reason = dataset.error or "it has never been scanned: upload frames, then scan it"
        raise invalid_field("#/dataset_id", f"the dataset is {dataset.state}: {reason}", "dataset_not_ready")
    if request.gaps == "interval":
        _require_interval(request, dataset)
    if request.missing == "fail" and (count := dataset.missing_frames(request.gaps)):
        first = f"frame number {dataset.first_gap}"
        if request.gaps == "interval" and dataset.cadence:
            first = f"a frame after index {dataset.cadence.gaps[0]['after_index']}"
        raise invalid_field("#/missing", f"{first} is missing ({count} in all) and missing is fail", "gap")


def _require_interval(request: RenderRequest, dataset: DatasetFacts) -> None:
    if dataset.cadence is None:
        detail = "the frames were not captured at one interval, or do not say when: use numbers or none"
        raise invalid_field("#/gaps", detail, "no_interval")
    if request.frames and request.frames.window:
        detail = "gaps by interval have positions, not capture times: choose frames by start and stop"
        raise invalid_field("#/gaps", detail, "exclusive")


def _geometry(request: RenderRequest, dataset: DatasetFacts) -> Geometry:
    if not dataset.width or not dataset.height:
        raise invalid_field("#/dataset_id", "no frame of the dataset can be read", "unreadable_dataset")
    source, pixel_aspect = (dataset.width, dataset.height), Fraction(1) if dataset.pixel_aspect else None
    crop = crop_of(source, request.crop) if request.crop else None
    if dataset.stored_size and dataset.pixel_aspect and _keeps_samples(request):
        source, pixel_aspect = dataset.stored_size, dataset.pixel_aspect
        crop = crop_in_stored_pixels(crop, source) if crop else None
    unscaled = unscaled_size(source, crop, request.rotate)
    output = output_size(unscaled, request.width, request.height, request.scale, request.codec)
    if pixel_aspect and request.rotate in (90, 270):
        pixel_aspect = 1 / pixel_aspect
    return Geometry(source, crop, request.rotate, output, pixel_aspect)


def _keeps_samples(request: RenderRequest) -> bool:
    """Whether stored pixels that are not square stay as they are, and the file says their shape."""
    resized = request.width or request.height or request.scale is not None
    return request.codec == "ffv1" and not resized and request.overlay is None


def _options(request: RenderRequest, dataset: DatasetFacts, geometry: Geometry, facts: RenderFacts) -> RenderOptions:
    """The canonical options; the rate may still be that of `duration_seconds`, and the backend is not decided yet."""
    codec, (width, height) = request.codec, geometry.output
    tone, timing = _tone(request, dataset), _captured_timing(request, dataset)
    fps = nominal_rate(request.fps, request.duration_seconds, request.timing)
    container = choose_container(codec, request.container, timed=timing is not None)
    pixel_format = _pixel_format(request, dataset, geometry, tone)
    overlay = _overlay(request, dataset, geometry, facts.pixel_size_um)
    colour = choose_colour(codec, request.hdr, facts.colours)
    return RenderOptions(
        codec=codec,
        quality=LOSSLESS_QUALITY if codec == "ffv1" else request.quality,
        fps=fps,
        width=width,
        height=height,
        source_kind=dataset.kind,
        missing=request.missing,
        changed=request.changed,
        corrupt=request.corrupt,
        mismatch=request.mismatch,
        max_pixels=facts.limits.max_pixels,
        tone=tone,
        background=request.background,
        container=container,
        form=format_with_overlay(codec, pixel_format) if overlay else pixel_format,
        crop=geometry.crop,
        rotate=request.rotate,
        bins=bins_of(
            request.decimation_mode,
            request.decimation_factor,
            native_size(geometry.unscaled_size, codec),
            geometry.output,
        ),
        timing=timing,
        overlay=overlay,
        outputs=canonical_outputs(request.outputs),
        colour=colour if dataset.kind == "video" else None,
        pixel_aspect=geometry.pixel_aspect,
        effort=request.effort if request.effort in EFFORTS[codec] else "balanced",
        deinterlace=_deinterlace(request, dataset),
    )


def _deinterlace(request: RenderRequest, dataset: DatasetFacts) -> Deinterlace:
    """Off where nothing would be deinterlaced."""
    if request.deinterlace == "on" and dataset.kind != "video":
        detail = "image frames are shown as they are: deinterlace is for source videos"
        raise invalid_field("#/deinterlace", detail, "not_video")
    if request.deinterlace == "auto" and not dataset.has_interlaced_pictures:
        return "off"
    return request.deinterlace


def _tone(request: RenderRequest, dataset: DatasetFacts) -> Tone | None:
    """The window is decided here, from what the scan has measured, and holds for every segment."""
    if request.tone and dataset.kind == "video":
        raise invalid_field("#/tone", "source videos are shown as they are: tone is for image frames", "not_images")
    levels = dataset.levels
    if request.codec == "ffv1" and request.tone is None and levels and levels.dtype in LOSSLESS_DTYPES:
        return None
    return resolve_tone(request.tone, levels, deep=has_deep_frames(dataset.pixel_formats))


def _captured_timing(request: RenderRequest, dataset: DatasetFacts) -> CapturedTiming | None:
    """None for a steady rate."""
    if request.timing == "uniform":
        if request.speed is not None:
            raise invalid_field("#/speed", "speed goes with timing captured only", "needs_captured")
        return None
    if request.duration_seconds is not None:
        detail = "with timing captured the capture times say how long the video lasts: give speed instead"
        raise invalid_field("#/duration_seconds", detail, "exclusive")
    if error := dataset.capture_times_error("#/timing", "use timing uniform"):
        raise error
    speed = Fraction(1 if request.speed is None else request.speed).limit_denominator(1000)
    return CapturedTiming(speed or Fraction(1, 1000))


def _pixel_format(request: RenderRequest, dataset: DatasetFacts, geometry: Geometry, tone: Tone | None) -> PixelFormat:
    """What the encoder is given when nothing is drawn."""
    counts = dataset.pixel_formats
    if dataset.levels is not None and dataset.levels.channels > 1:
        counts = formats_of_rgb_samples(counts)
    counts = formats_over_background(counts, request.background)
    counts = formats_after_tone(request.codec, counts, tone)
    counts = formats_after_rotation(counts, geometry.unscaled_size, request.rotate)
    pixel_format = choose_pixel_format(request.codec, counts)
    if request.decimation_mode == "max" and request.decimation_factor > 1:
        require_brightness(pixel_format)
    return pixel_format


def _overlay(
    request: RenderRequest, dataset: DatasetFacts, geometry: Geometry, pixel_size_um: float | None
) -> Overlay | None:
    """None when nothing is drawn."""
    spec = request.overlay
    if spec is None:
        return None
    text = drawable_text(spec.text)
    if spec.captured_at and (error := dataset.capture_times_error("#/overlay/captured_at", "leave it out")):
        raise error
    bar = None
    if spec.scale_bar:
        stretched = request.mismatch == "scale"
        bar = scale_bar(spec.scale_bar, pixel_size_um, geometry.unscaled_size, geometry.output, stretched=stretched)
    if not (spec.frame_index or spec.captured_at or spec.elapsed or text or bar):
        return None
    height = geometry.output[1]
    size = min(spec.size or text_size(height), height)
    return Overlay(spec.frame_index, spec.captured_at, spec.elapsed, text, bar, spec.position, size)


def _selection(request: RenderRequest, dataset: DatasetFacts, facts: RenderFacts, *, binned: bool) -> Selection:
    start, stop = frame_range(request.frames, dataset, facts.captured, request.missing, request.gaps)
    return select_frames(
        dataset.position_count(request.missing, request.gaps), request.decimation_factor, start, stop, binned
    )


def _too_many_frames(selection: Selection, limit: int) -> InvalidRequest:
    way_out = "choose fewer with frames" if selection.binned else "raise decimation_factor"
    detail = f"{selection.source_count()} frames are more than the {limit} of one render: {way_out}"
    return invalid_field("#/decimation_factor", detail, "too_many_frames")
