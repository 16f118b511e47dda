"""The canonical options of a render, from a request and what is known of its datasets.

Errors name fields of the request by JSON pointer, under the names of the HTTP body.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

from service.errors import invalid_field
from service.plan.colour import Colour, choose_colour
from service.plan.facts import DatasetFacts, RenderFacts
from service.plan.formats import (
    EFFORTS,
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
    Geometry,
    bins_of,
    crop_in_stored_pixels,
    crop_of,
    native_size,
    output_size,
    panel_size,
    unscaled_size,
)
from service.plan.grid import Grid
from service.plan.overlay import Overlay, drawable_text, scale_bar, text_size
from service.plan.render_plan import CapturedTiming, Deinterlace, RenderOptions
from service.plan.requests.panels import choose_grid_colour, plan_grid
from service.plan.requests.request import RenderRequest
from service.plan.timing import nominal_rate
from service.plan.tone import Tone, resolve_tone

# What ffv1 holds as it is; signed, deeper and float samples need a tone.
LOSSLESS_DTYPES = ("uint8", "uint16")

# The quality of every ffv1 render, whatever was requested.
LOSSLESS_QUALITY = 100


def geometry_of(request: RenderRequest, dataset: DatasetFacts) -> Geometry:
    """What happens to the size of a frame. Raises InvalidRequest."""
    assert dataset.width and dataset.height, "planning has looked at the dataset before"
    source, pixel_aspect = (dataset.width, dataset.height), Fraction(1) if dataset.pixel_aspect else None
    crop = crop_of(source, request.crop) if request.crop else None
    if dataset.stored_size and dataset.pixel_aspect and _keeps_samples(request):
        source, pixel_aspect = dataset.stored_size, dataset.pixel_aspect
        crop = crop_in_stored_pixels(crop, source) if crop else None
    unscaled = unscaled_size(source, crop, request.rotate)
    if request.grid:
        columns, rows = request.grid.shape
        panel = panel_size(unscaled, (columns, rows), (request.width, request.height), request.scale, request.codec)
        return Geometry(source, crop, request.rotate, (columns * panel[0], rows * panel[1]), pixel_aspect, panel)
    if pixel_aspect and request.rotate in (90, 270):
        pixel_aspect = 1 / pixel_aspect
    output = output_size(unscaled, request.width, request.height, request.scale, request.codec)
    return Geometry(source, crop, request.rotate, output, pixel_aspect)


def _keeps_samples(request: RenderRequest) -> bool:
    """Whether stored pixels that are not square stay as they are, and the file says their shape."""
    resized = request.width or request.height or request.scale is not None
    return request.codec == "ffv1" and not resized and request.overlay is None and request.grid is None


def options_of(
    request: RenderRequest, datasets: Sequence[DatasetFacts], geometry: Geometry, facts: RenderFacts
) -> RenderOptions:
    """The canonical options; the rate may still be that of `duration_seconds`, and the backend is not decided yet."""
    codec, (width, height), dataset = request.codec, geometry.output, datasets[0]
    tones, timing = _tones(request, datasets), _captured_timing(request, dataset)
    fps = nominal_rate(request.fps, request.duration_seconds, request.timing)
    container = choose_container(codec, request.container, timed=timing is not None)
    pixel_format = _pixel_format(request, datasets, geometry, tones)
    overlay = _overlay(request, datasets, geometry, facts.pixel_size_um)
    grid = _grid(request, datasets, geometry, tones)
    if overlay or (grid and any(panel.label for panel in grid.panels)):
        pixel_format = format_with_overlay(codec, pixel_format, "#/overlay" if overlay else "#/grid/labels")
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
        tone=tones[0],
        background=request.background,
        container=container,
        form=pixel_format,
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
        colour=_colour(request, datasets, facts),
        pixel_aspect=geometry.pixel_aspect,
        effort=request.effort if request.effort in EFFORTS[codec] else "balanced",
        deinterlace=_deinterlace(request, datasets),
        grid=grid,
    )


def _grid(
    request: RenderRequest, datasets: Sequence[DatasetFacts], geometry: Geometry, tones: Sequence[Tone | None]
) -> Grid | None:
    if request.grid is None or geometry.panel is None:
        return None
    if request.decimation_mode != "drop" and request.decimation_factor > 1:
        raise invalid_field("#/decimation_mode", "a grid shows single frames: use drop", "exclusive")
    return plan_grid(request.grid, geometry.panel, list(zip(datasets, tones, strict=True)))


def _colour(request: RenderRequest, datasets: Sequence[DatasetFacts], facts: RenderFacts) -> Colour | None:
    colour = choose_colour(request.codec, request.hdr, facts.colours)
    if request.grid:
        return choose_grid_colour(datasets, request.hdr, colour)
    return colour if datasets[0].kind == "video" else None


def _deinterlace(request: RenderRequest, datasets: Sequence[DatasetFacts]) -> Deinterlace:
    """Off where nothing would be deinterlaced."""
    if request.deinterlace == "on" and all(dataset.kind != "video" for dataset in datasets):
        detail = "image frames are shown as they are: deinterlace is for source videos"
        raise invalid_field("#/deinterlace", detail, "not_video")
    if request.deinterlace == "auto" and not any(dataset.has_interlaced_pictures for dataset in datasets):
        return "off"
    return request.deinterlace


def _tones(request: RenderRequest, datasets: Sequence[DatasetFacts]) -> list[Tone | None]:
    """The tone of each dataset; source videos beside image frames have none."""
    mixed = len({dataset.kind for dataset in datasets}) > 1
    return [None if mixed and each.kind == "video" else _tone(request, each) for each in datasets]


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


def _pixel_format(
    request: RenderRequest, datasets: Sequence[DatasetFacts], geometry: Geometry, tones: Sequence[Tone | None]
) -> PixelFormat:
    """What the encoder is given when nothing is drawn."""
    counts: Counter[str] = Counter()
    for dataset, tone in zip(datasets, tones, strict=True):
        counts.update(_formats(request, dataset, geometry, tone))
    pixel_format = choose_pixel_format(request.codec, counts)
    if request.decimation_mode == "max" and request.decimation_factor > 1:
        require_brightness(pixel_format)
    return pixel_format


def _formats(request: RenderRequest, dataset: DatasetFacts, geometry: Geometry, tone: Tone | None) -> Mapping[str, int]:
    """The formats that the frames of a dataset have after all that is done to them, and how many have each."""
    counts = dataset.pixel_formats
    if dataset.levels is not None and dataset.levels.channels > 1:
        counts = formats_of_rgb_samples(counts)
    counts = formats_over_background(counts, request.background)
    counts = formats_after_tone(request.codec, counts, tone)
    return formats_after_rotation(counts, geometry.unscaled_size, request.rotate)


def _overlay(
    request: RenderRequest, datasets: Sequence[DatasetFacts], geometry: Geometry, pixel_size_um: float | None
) -> Overlay | None:
    """None when nothing is drawn."""
    spec, dataset = request.overlay, datasets[0]
    if spec is None:
        return None
    text = drawable_text(spec.text)
    if spec.captured_at and (error := dataset.capture_times_error("#/overlay/captured_at", "leave it out")):
        raise error
    bar = None
    if spec.scale_bar:
        if len({(each.width, each.height) for each in datasets}) > 1:
            detail = "the frames of these datasets differ in size, and so would the scale of the panels: leave it out"
            raise invalid_field("#/overlay/scale_bar", detail, "several_scales")
        stretched, shown = request.mismatch == "scale", geometry.panel or geometry.output
        bar = scale_bar(spec.scale_bar, pixel_size_um, geometry.unscaled_size, shown, stretched=stretched)
    if not (spec.frame_index or spec.captured_at or spec.elapsed or text or bar):
        return None
    height = geometry.output[1]
    size = min(spec.size or text_size(height), height)
    return Overlay(spec.frame_index, spec.captured_at, spec.elapsed, text, bar, spec.position, size)
