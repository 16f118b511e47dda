"""Planning is a pure function of a request and facts: no database, and no error but the service's own."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Conflict, InvalidRequest, NotFound, ReelmillError
from service.plan.capability import Capability, Stage, State
from service.plan.facts import CapturedFrames, ClusterCapabilities, DatasetFacts, RenderFacts, RenderLimits
from service.plan.formats import CONTAINERS, PIXEL_FORMATS, Codec, Container, Effort, Output, SourceKind
from service.plan.geometry import Bins, Crop, CropSpec, DecimationMode
from service.plan.overlay import Corner, Overlay, OverlaySpec, ScaleBar, ScaleBarSpec, Unit
from service.plan.placement import DevicePreference
from service.plan.render_plan import CPU_ONLY, Backend, FramePolicy, MismatchPolicy, RenderOptions
from service.plan.requests.planning import plan
from service.plan.requests.request import RenderRequest
from service.plan.segments import FrameRangeSpec, Selection
from service.plan.timing import Timing
from service.plan.tone import COLORMAPS, PERCENTS, Levels, Tone, ToneMode, ToneSpec

EXPERIMENT, DATASET = UUID(int=1), UUID(int=2)
MORNING = datetime(2026, 5, 4, 6, tzinfo=UTC)
LIMITS = RenderLimits.model_construct(max_frames=1_000_000, max_pixels=100_000_000, max_queued=20)
FRAMES = DatasetFacts(
    DATASET,
    EXPERIMENT,
    "plate",
    "frames",
    "bucket",
    frame_count=900,
    width=1920,
    height=1080,
    formats=("jpeg",),
    pixel_formats={"yuvj420p": 900},
    captured=(MORNING, MORNING + timedelta(hours=1)),
    digest="d",
)
DEEP = Levels("uint16", 16, 1, 64, 100, 60_100, 0, 0, tuple(100 + 600 * percent for percent in PERCENTS))
CARD = ClusterCapabilities(
    (
        Capability("cuda:0", "decode", "jpeg", "ok", rate=5e4),
        Capability("cuda:0", "transform", "nv12", "ok", rate=5e4),
    )
)
REQUEST = RenderRequest(EXPERIMENT, 1, fps=30)


def facts(dataset: DatasetFacts = FRAMES, **others: Any) -> RenderFacts:
    return RenderFacts(limits=LIMITS, datasets=(dataset,), **others)


def refusal(request: RenderRequest, given_facts: RenderFacts) -> tuple[str | None, str]:
    """Pointer and code of the error."""
    with pytest.raises(InvalidRequest) as caught:
        plan(request, given_facts)
    return caught.value.errors[0].pointer, caught.value.errors[0].code


def test_a_plain_request() -> None:
    found = plan(replace(REQUEST, decimation_factor=4, priority=7), facts())
    assert found.options == RenderOptions("h264", 70, 30, 1920, 1080)  # type: ignore[arg-type]
    assert found.selection == Selection(0, 900, 4)
    assert (found.dataset, found.priority) == (FRAMES, 7)
    assert {stage["device"] for stage in found.stages.values()} == {"cpu"}


def test_a_request_with_everything() -> None:
    request = RenderRequest(
        EXPERIMENT,
        10,
        codec="mjpeg",
        frames=FrameRangeSpec(since=MORNING, until=MORNING + timedelta(minutes=5)),
        crop=CropSpec(0, 0, 960, 540),
        rotate=90,
        scale=0.5,
        decimation_mode="max",
        timing="captured",
        speed=60,
        tone=ToneSpec("full"),
        overlay=OverlaySpec(elapsed=True, text=" Well  B7 ", scale_bar=ScaleBarSpec(100)),
        outputs=("keogram", "preview_strip", "keogram"),
    )
    captured = CapturedFrames(first_index=100, last_index=199, first_number=None, last_number=None)
    found = plan(request, facts(replace(FRAMES, levels=DEEP), captured=captured, pixel_size_um=2.5))
    options = found.options
    assert (options.width, options.height, options.container) == (270, 480, "mov")
    assert options.crop == Crop(0, 0, 960, 540, 1920, 1080)
    assert options.bins == Bins("max", 10, 540, 960)
    assert options.tone == Tone(0, 65535)
    assert options.overlay == Overlay(False, False, True, "Well B7", ScaleBar(20, "100 µm"), "bottom_left", 17)
    assert options.outputs == ("preview_strip", "keogram")
    assert found.selection == Selection(100, 200, 10, binned=True)


def test_the_duration_decides_the_rate() -> None:
    found = plan(replace(REQUEST, fps=None, duration_seconds=45), facts())
    assert found.options.fps == 20


def test_a_window_counts_gaps_where_they_have_positions() -> None:
    gapped = replace(FRAMES, gap_frames=50, first_gap=30, number_first=10, number_stride=2)
    request = replace(REQUEST, frames=FrameRangeSpec(since=MORNING))
    captured = CapturedFrames(first_index=5, last_index=8, first_number=30, last_number=40)
    assert plan(request, facts(gapped, captured=captured)).selection == Selection(5, 9, 1)
    holding = replace(request, missing="hold")
    assert plan(holding, facts(gapped, captured=captured)).selection == Selection(10, 16, 1)


def test_an_effort_without_settings_of_its_own_is_the_balanced_render() -> None:
    balanced, fast, small = (
        plan(replace(REQUEST, codec="av1", effort=effort), facts()) for effort in ("balanced", "fast", "small")
    )
    assert (fast.key, fast.options.effort) == (balanced.key, "balanced")
    assert small.key != balanced.key
    assert small.stages["encode"]["reason"].startswith("libsvtav1 preset 6")


def test_the_placement_is_in_the_key() -> None:
    cpu, gpu = plan(REQUEST, facts()), plan(REQUEST, facts(cluster=CARD))
    assert (cpu.options.family, gpu.options.family) == (CPU_ONLY, Backend("cuda", "cpu"))
    assert cpu.key != gpu.key
    assert plan(replace(REQUEST, device="cpu"), facts(cluster=CARD)).key == cpu.key


@pytest.mark.parametrize(
    ("request_", "dataset", "place"),
    [
        ({}, {"state": "failed", "error": "boom"}, ("#/dataset_id", "dataset_not_ready")),
        ({}, {"width": None, "height": None}, ("#/dataset_id", "unreadable_dataset")),
        ({}, {"frame_count": 0}, ("#/dataset_id", "empty_dataset")),
        ({"missing": "fail"}, {"gap_frames": 1, "first_gap": 3}, ("#/missing", "gap")),
        ({"crop": CropSpec(0, 0, 100, 1081)}, {}, ("#/crop/height", "outside")),
        ({"scale": 0.5, "width": 100}, {}, ("#/scale", "exclusive")),
        ({"scale": 0.001, "codec": "hevc"}, {}, ("#/codec", "too_small")),
        ({"fps": None}, {}, ("#/fps", "missing")),
        ({"duration_seconds": 3}, {}, ("#/duration_seconds", "exclusive")),
        ({"fps": None, "duration_seconds": 0.1}, {}, ("#/duration_seconds", "impossible_rate")),
        ({"speed": 2}, {}, ("#/speed", "needs_captured")),
        ({"timing": "captured"}, {"captured": None}, ("#/timing", "no_capture_times")),
        ({"timing": "captured"}, {"kind": "video"}, ("#/timing", "no_capture_times")),
        ({"tone": ToneSpec()}, {}, ("#/tone", "no_levels")),
        ({"tone": ToneSpec()}, {"kind": "video"}, ("#/tone", "not_images")),
        ({"deinterlace": "on"}, {}, ("#/deinterlace", "not_video")),
        ({"container": "avi"}, {}, ("#/container", "container")),
        ({"codec": "ffv1"}, {"pixel_formats": {}}, ("#/codec", "rescan")),
        (
            {"codec": "ffv1", "decimation_mode": "max", "decimation_factor": 2},
            {"pixel_formats": {"bgr0": 900}},
            ("#/decimation_mode", "no_brightness"),
        ),
        ({"overlay": OverlaySpec(text="\u4e16")}, {}, ("#/overlay/text", "unsupported_character")),
        ({"overlay": OverlaySpec(scale_bar=ScaleBarSpec(1))}, {}, ("#/overlay/scale_bar", "no_pixel_size")),
        ({"overlay": OverlaySpec(captured_at=True)}, {"captured": None}, ("#/overlay/captured_at", "no_capture_times")),
        ({"frames": FrameRangeSpec(start=900)}, {}, ("#/frames", "empty_range")),
        ({"frames": FrameRangeSpec(since=MORNING)}, {}, ("#/frames", "empty_range")),
        ({"frames": FrameRangeSpec(start=1, since=MORNING)}, {}, ("#/frames/from", "exclusive")),
        ({"frames": FrameRangeSpec(since=MORNING, until=MORNING)}, {}, ("#/frames/to", "empty_range")),
        ({}, {"frame_count": 1_000_001}, ("#/decimation_factor", "too_many_frames")),
        ({"device": "cuda"}, {}, ("#/device", "no_device")),
    ],
)
def test_an_error_points_at_its_field(
    request_: dict[str, Any], dataset: dict[str, Any], place: tuple[str, str]
) -> None:
    assert refusal(replace(REQUEST, **request_), facts(replace(FRAMES, **dataset))) == place


def test_the_dataset_must_be_there_and_be_the_only_one() -> None:
    two = (FRAMES, replace(FRAMES, id=UUID(int=3)))
    assert refusal(REQUEST, replace(facts(), datasets=two)) == ("#/dataset_id", "ambiguous")
    assert refusal(REQUEST, replace(facts(), datasets=())) == ("#/experiment_id", "no_dataset")
    named = replace(REQUEST, dataset_id=DATASET)
    assert refusal(named, replace(facts(), datasets=())) == ("#/dataset_id", "no_dataset")
    with pytest.raises(NotFound):
        plan(REQUEST, replace(facts(), experiment_exists=False))
    with pytest.raises(Conflict) as caught:
        plan(REQUEST, facts(replace(FRAMES, state="scanning")))
    assert caught.value.headers == {"Retry-After": "2"}


def rarely(strategy: st.SearchStrategy[Any], usually: Any = None) -> st.SearchStrategy[Any]:
    """Mostly `usually`: where every field is drawn freely, no request can be planned."""
    return st.integers(0, 7).flatmap(lambda n: strategy if n == 7 else st.just(usually))


def one_of(literal: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(literal))


numbers = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.none() | st.just(UTC))
sides = st.integers(2, 16_384)
levels = st.builds(
    lambda low, width, kind, channels: Levels(
        *kind, channels, 64, low, low + width, 0, 0, tuple(low + width * percent / 100 for percent in PERCENTS)
    ),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.sampled_from([("uint8", 8), ("uint16", 12), ("uint16", 16), ("int16", 16), ("uint32", 32), ("float32", 32)]),
    st.sampled_from([1, 3]),
)
ranges = st.builds(
    FrameRangeSpec,
    rarely(st.integers(0, 2**63), 0),
    rarely(st.integers(1, 2**63)),
    rarely(moments),
    rarely(moments),
)
tones = st.builds(
    ToneSpec,
    one_of(ToneMode),
    rarely(numbers),
    rarely(numbers),
    st.floats(0.05, 20),
    st.sampled_from(COLORMAPS),
    st.booleans(),
)
bars = st.builds(ScaleBarSpec, st.floats(0, 1e9, exclude_min=True), one_of(Unit))
overlays = st.builds(
    OverlaySpec,
    st.booleans(),
    rarely(st.just(True), False),
    st.booleans(),
    rarely(st.text(max_size=20), "Well B7"),
    rarely(bars),
    one_of(Corner),
    rarely(st.integers(8, 1000)),
)
requests = st.builds(
    RenderRequest,
    st.just(EXPERIMENT),
    st.integers(1, 10) | st.integers(1, 100_000),
    fps=rarely(st.none() | st.floats(0.1, 240), 30.0),
    dataset_id=rarely(st.just(DATASET)),
    frames=rarely(ranges),
    width=rarely(sides),
    height=rarely(sides),
    scale=rarely(st.floats(0, 8, exclude_min=True)),
    codec=one_of(Codec),
    quality=st.integers(0, 100),
    effort=one_of(Effort),
    missing=rarely(one_of(FramePolicy), "hold"),
    corrupt=one_of(FramePolicy),
    mismatch=one_of(MismatchPolicy),
    device=rarely(one_of(DevicePreference), "auto"),
    priority=st.integers(0, 9),
    tone=rarely(tones),
    background=st.sampled_from(["#000000", "#ffffff"]),
    container=rarely(one_of(Container)),
    crop=rarely(st.builds(CropSpec, *[st.integers(0, 400)] * 2, *[st.integers(2, 700)] * 2)),
    rotate=st.sampled_from([0, 90, 180, 270]),
    decimation_mode=one_of(DecimationMode),
    duration_seconds=rarely(st.floats(0, 86_400, exclude_min=True)),
    timing=rarely(one_of(Timing), "uniform"),
    speed=rarely(st.floats(0, 10_000_000, exclude_min=True)),
    overlay=rarely(overlays),
    outputs=st.lists(one_of(Output), max_size=2).map(tuple),
)
datasets = st.builds(
    DatasetFacts,
    st.just(DATASET),
    st.just(EXPERIMENT),
    st.just("plate"),
    one_of(SourceKind),
    st.just("bucket"),
    state=rarely(st.sampled_from(["empty", "scanning", "failed"]), "ready"),
    error=rarely(st.just("boom")),
    frame_count=st.integers(0, 2_000_000),
    width=rarely(st.none() | st.integers(1, 70_000), 1920),
    height=rarely(st.none() | st.integers(1, 70_000), 1080),
    formats=st.lists(st.sampled_from(["jpeg", "png", "tiff", "webp", "h264", "vp9"]), max_size=3).map(tuple),
    pixel_formats=st.dictionaries(st.sampled_from([*sorted(PIXEL_FORMATS), "32-bit samples"]), st.integers(1, 1000)),
    levels=st.none() | levels,
    captured=st.none() | st.just((MORNING, MORNING + timedelta(hours=1))),
    first_gap=st.none() | st.integers(0, 2**63),
    gap_frames=st.integers(0, 1000),
    number_first=st.none() | st.integers(0, 2**40),
    number_stride=st.none() | st.integers(0, 9),
    digest=st.text(max_size=3),
)
capabilities = st.builds(
    Capability,
    st.sampled_from(["cpu", "cuda:0", "cuda:1"]),
    one_of(Stage),
    st.sampled_from(["jpeg", "tiff", "h264", "hevc", "av1", "nv12"]),
    one_of(State),
    rate=st.none() | st.floats(0.001, 1e6),
)
captures = st.builds(
    CapturedFrames,
    st.integers(0, 1000),
    st.integers(1000, 2000),
    st.none() | st.integers(2**40, 2**41),
    st.none() | st.integers(2**41, 2**42),
)
all_facts = st.builds(
    RenderFacts,
    st.builds(RenderLimits.model_construct, max_frames=st.integers(1, 10**7), max_pixels=st.integers(1, 10**8)),
    rarely(st.just(False), True),
    datasets.map(lambda one: (one,)) | rarely(st.lists(datasets, max_size=2).map(tuple), (FRAMES,)),
    st.none() | st.floats(1e-6, 1e9),
    st.none() | captures,
    st.builds(ClusterCapabilities, st.lists(capabilities, max_size=8).map(tuple), st.floats(1, 64)),
)


@given(requests, all_facts)
def test_planning_ends_in_a_plan_or_in_an_error_of_the_service(request: RenderRequest, known: RenderFacts) -> None:
    try:
        found = plan(request, known)
    except ReelmillError as error:
        assert error.status in (404, 409, 422) and error.detail
        assert error.status != 422 or (error.errors[0].pointer or "").startswith("#/")
        return
    options = found.options
    assert plan(request, known) == found
    assert RenderOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert options.container in CONTAINERS[options.codec] and options.form in PIXEL_FORMATS
    assert 0 < found.selection.output_count() <= found.selection.source_count() <= known.limits.max_frames
    assert len(found.key) == 64


@given(requests, all_facts, st.integers(0, 9), st.floats(1, 64))
def test_a_key_depends_on_pictures_only(
    request: RenderRequest, known: RenderFacts, priority: int, slots: float
) -> None:
    """Neither on how urgent a render is nor on what it costs where it runs: only on what is seen, and who makes it."""
    try:
        one = plan(replace(request, device="cpu"), known)
    except ReelmillError:
        return
    cluster = replace(known.cluster, slots_per_device=slots)
    other = plan(replace(request, device="cpu", priority=priority), replace(known, cluster=cluster))
    assert one.key == other.key
    changed = replace(known, datasets=(replace(one.dataset, digest=one.dataset.digest + "x"),))
    assert plan(replace(request, device="cpu"), changed).key != one.key


ANAMORPHIC = replace(
    FRAMES,
    kind="video",
    width=1024,
    height=576,
    stored_size=(720, 576),
    pixel_aspect=Fraction(64, 45),
    formats=("h264",),
    pixel_formats={"yuv420p": 900},
    captured=None,
)


@pytest.mark.parametrize(
    ("changes", "size", "pixel_aspect"),
    [
        ({}, (1024, 576), Fraction(1)),
        ({"scale": 0.5}, (512, 288), Fraction(1)),
        ({"width": 720, "height": 576}, (720, 576), Fraction(1)),
        ({"crop": CropSpec(512, 0, 512, 576)}, (512, 576), Fraction(1)),
        ({"codec": "ffv1"}, (720, 576), Fraction(64, 45)),
        ({"codec": "ffv1", "rotate": 90}, (576, 720), Fraction(45, 64)),
        ({"codec": "ffv1", "crop": CropSpec(512, 0, 512, 576)}, (360, 576), Fraction(64, 45)),
        ({"codec": "ffv1", "scale": 0.5}, (512, 288), Fraction(1)),
        ({"codec": "ffv1", "overlay": OverlaySpec(text="a")}, (1024, 576), Fraction(1)),
    ],
)
def test_sources_whose_pixels_are_not_square(
    changes: dict[str, Any], size: tuple[int, int], pixel_aspect: Fraction
) -> None:
    """They are shown in square pixels; only ffv1 keeps the stored ones, unless something else is asked for."""
    found = plan(replace(REQUEST, **changes), facts(ANAMORPHIC)).options
    assert ((found.width, found.height), found.pixel_aspect) == (size, pixel_aspect)
    assert RenderOptions.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_scan_that_did_not_note_the_shape_of_pixels() -> None:
    """What was scanned as 720x576 is rendered so, whatever the source says, until it is scanned again."""
    before = replace(ANAMORPHIC, width=720, stored_size=None, pixel_aspect=None)
    found = plan(REQUEST, facts(before)).options
    assert ((found.width, found.height), found.pixel_aspect) == ((720, 576), None)
    assert RenderOptions.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_pixels_that_are_not_square_are_planned_on_the_cpu() -> None:
    stages = ("decode", "h264"), ("transform", "nv12")
    cards = tuple(Capability("cuda:0", stage, name, "ok", rate=5e4) for stage, name in stages)
    planned = plan(replace(REQUEST, scale=0.25), facts(ANAMORPHIC, cluster=ClusterCapabilities(cards)))
    assert planned.stages["decode"]["reason"] == "pixels that are not square run on the CPU"


@pytest.mark.parametrize(
    ("orders", "mode", "options", "device"),
    [
        ({}, "auto", "off", "cuda:0"),
        ({"progressive": 900}, "auto", "off", "cuda:0"),
        ({"top": 1, "progressive": 899}, "auto", "auto", "cpu"),
        ({"mixed": 900}, "on", "on", "cpu"),
        ({"progressive": 900}, "on", "on", "cpu"),
        ({"bottom": 900}, "off", "off", "cuda:0"),
    ],
)
def test_interlaced_sources_are_deinterlaced_on_the_cpu(
    orders: dict[str, int], mode: Any, options: str, device: str
) -> None:
    card = ClusterCapabilities((Capability("cuda:0", "decode", "h264", "ok", rate=5e4), CARD.capabilities[1]))
    dataset = replace(FRAMES, kind="video", formats=("h264",), field_orders=orders)
    planned = plan(replace(REQUEST, deinterlace=mode), facts(dataset, cluster=card))
    assert (planned.options.deinterlace, planned.stages["decode"]["device"]) == (options, device)
    other = replace(dataset, field_orders=orders | {"bottom": 7})
    assert plan(replace(REQUEST, deinterlace=mode), facts(other, cluster=card)).key != planned.key
