"""Where stages run: only where it was proven, never more than the CPU costs, and always with a reason.

Slots are dealt out over devices; a device is withheld with a reason.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.plan.capability import Capability, State
from service.plan.geometry import Bins, Crop
from service.plan.placement import (
    NOT_PROVEN,
    Placement,
    SourceMedia,
    allocate_gpu,
    choose_placement,
    describe_stages,
    gpu_disabled_reason,
)
from service.plan.render_plan import CPU_ONLY, Backend, RenderOptions
from service.plan.tone import Tone

HD = RenderOptions("h264", 70, Fraction(30), 1920, 1080)
JPEGS = SourceMedia(("jpeg",), 1920, 1080)


def capability(device: str, stage: Any, what: str, state: Any = "ok", rate: float | None = None) -> Capability:
    return Capability(device, stage, what, state, "" if state == "ok" else f"it is {state}", 1.0, rate)


def card(device: str = "cuda:0", nvenc: bool = False, **rates: float) -> list[Capability]:
    """A card that does everything; an H200 has no NVENC."""
    encode = "ok" if nvenc else "absent"
    return [
        capability(device, "decode", "jpeg", rate=rates.get("jpeg", 2000)),
        capability(device, "decode", "h264", rate=2000),
        capability(device, "transform", "nv12", rate=rates.get("nv12", 50_000)),
        *(capability(device, "encode", codec, encode, rates.get("encode", 1500)) for codec in ("h264", "hevc", "av1")),
    ]


capabilities = st.lists(
    st.builds(
        Capability,
        st.sampled_from(["cpu", "cuda:0", "cuda:1"]),
        st.sampled_from(["decode", "transform", "encode"]),
        st.sampled_from(["jpeg", "png", "tiff", "h264", "hevc", "av1", "nv12"]),
        st.sampled_from(get_args(State)),
        st.sampled_from(["", "hang", "no NVENC"]),
        st.none(),
        st.none() | st.floats(0.001, 1e6),
    ),
    max_size=30,
)
renders = st.builds(
    replace,
    st.just(HD),
    codec=st.sampled_from(["h264", "hevc", "av1", "mjpeg", "ffv1"]),
    width=st.integers(1, 4000).map(lambda side: side * 2),
    height=st.integers(1, 4000).map(lambda side: side * 2),
    form=st.sampled_from(["yuv420p", "yuvj422p", "gray"]),
    rotate=st.sampled_from([0, 90, 180, 270]),
    source_kind=st.sampled_from(["frames", "video"]),
    bins=st.none() | st.just(Bins("mean", 4, 640, 480)),
)
sources = st.builds(
    SourceMedia,
    st.lists(st.sampled_from(["jpeg", "png", "tiff", "webp", "h264", "vp9"]), max_size=3).map(tuple),
    st.integers(1, 9000),
    st.integers(1, 9000),
)


def choices(way: Placement) -> dict[Any, str]:
    return {"decode": way.decode.device, "transform": way.transform.device, "encode": way.encode.device}


@given(capabilities, renders, sources, st.floats(0, 64))
def test_auto_never_fails_and_never_costs_more_than_the_cpu(
    known: list[Capability], options: RenderOptions, source: SourceMedia, sharing: float
) -> None:
    way = choose_placement(known, options, source, "auto", sharing)
    assert way.seconds <= choose_placement(known, options, source, "cpu").seconds
    assert all(choice.reason for choice in (way.decode, way.transform, way.encode))


@given(capabilities, renders, sources)
def test_what_runs_on_a_device_was_proven_there(
    known: list[Capability], options: RenderOptions, source: SourceMedia
) -> None:
    try:
        way = choose_placement(known, options, source, "cuda")
    except InvalidRequest as refused:
        assert refused.errors[0].pointer == "#/device"
        assert choose_placement(known, options, source).backend == CPU_ONLY
        return
    assert way.backend.pixels == "cuda"
    usable = {(one.device, one.stage) for one in known if one.usable}
    assert all((device, stage) in usable for stage, device in choices(way).items() if device != "cpu")
    assert (way.encode.device != "cpu") == (way.backend.encoder == "nvenc")


@given(st.data(), capabilities, renders, sources)
def test_the_order_of_the_rows_says_nothing(
    data: st.DataObject, known: list[Capability], options: RenderOptions, source: SourceMedia
) -> None:
    other = data.draw(st.permutations(known))
    assert choose_placement(known, options, source) == choose_placement(other, options, source)


@given(capabilities, renders, sources)
def test_the_cpu_is_what_was_asked_for(known: list[Capability], options: RenderOptions, source: SourceMedia) -> None:
    way = choose_placement(known, options, source, "cpu")
    assert way.backend == CPU_ONLY
    assert set(choices(way).values()) == {"cpu"}


def test_without_a_card_the_reason_is_the_one_there_always_was() -> None:
    stages = describe_stages(HD)
    assert stages["decode"] == {"device": "cpu", "reason": NOT_PROVEN}
    assert stages["encode"]["reason"] == f"libx264 veryfast, one thread a slot; {NOT_PROVEN}"
    with pytest.raises(InvalidRequest, match="no CUDA device"):
        choose_placement([], HD, JPEGS, "cuda")


def test_a_card_without_nvenc_decodes_and_the_cpu_encodes() -> None:
    way = choose_placement(card(), HD, JPEGS)
    assert choices(way) == {"decode": "cuda:0", "transform": "cuda:0", "encode": "cpu"}
    assert way.backend == Backend("cuda", "cpu")
    assert "encode h264: it is absent" in way.encode.reason


def test_a_card_with_nvenc_does_everything() -> None:
    assert choose_placement(card(nvenc=True), HD, JPEGS).backend == Backend("cuda", "nvenc")


def test_a_quarantined_stage_is_passed_over_and_named() -> None:
    broken = [capability("cuda:0", "transform", "nv12", "quarantined"), *card("cuda:1")]
    assert choose_placement(broken, HD, JPEGS).transform.device == "cuda:1"
    broken = [one if one.stage != "decode" else replace(one, state="quarantined", reason="hang") for one in card()]
    way = choose_placement(broken, HD, JPEGS)
    assert way.backend == CPU_ONLY
    assert way.decode.reason == "cuda:0 decode jpeg: hang"
    with pytest.raises(InvalidRequest, match="cuda:0 decode jpeg: hang"):
        choose_placement(broken, HD, JPEGS, "cuda")


def test_a_slow_card_is_left_alone_unless_it_is_asked_for() -> None:
    slow = card(jpeg=5, nv12=5)
    assert choose_placement(slow, HD, JPEGS).backend == CPU_ONLY
    assert choose_placement(slow, HD, JPEGS, "cuda").backend.pixels == "cuda"


def test_many_slots_on_one_card_are_counted() -> None:
    slow = card(jpeg=200, nv12=50_000)
    assert choose_placement(slow, HD, JPEGS, slots_per_device=1).backend.pixels == "cuda"
    assert choose_placement(slow, HD, JPEGS, slots_per_device=16).backend == CPU_ONLY


def test_tiff_needs_no_decoder_on_the_card() -> None:
    way = choose_placement(card()[2:], HD, SourceMedia(("tiff",), 3840, 2160))
    assert (way.decode.device, way.transform.device) == ("cpu", "cuda:0")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"codec": "ffv1"}, "ffv1 of yuv420p"),
        ({"form": "gray"}, "h264 of gray"),
        ({"width": 3840, "height": 2160}, "enlarging"),
    ],
)
def test_what_no_device_does_is_said(changes: dict[str, Any], why: str) -> None:
    options = replace(HD, **changes)
    assert why in choose_placement(card(nvenc=True), options, JPEGS).decode.reason
    with pytest.raises(InvalidRequest, match=why):
        choose_placement(card(nvenc=True), options, JPEGS, "cuda")


DEEP = SourceMedia(("tiff",), 1920, 1080)


@pytest.mark.parametrize("crop", [None, Crop(0, 0, 960, 540, 1920, 1080)])
@pytest.mark.parametrize("size", [4, 16, 17, 33])
def test_bins_of_measured_samples_go_through_a_device_as_a_whole_or_not_at_all(size: int, crop: Crop | None) -> None:
    binned = replace(HD, bins=Bins("mean", size, 1920, 1080), tone=Tone(0, 4000), crop=crop)
    whole = size <= 16 and crop is None
    way = choose_placement(card(), binned, DEEP)
    assert whole != ("such bins of TIFF" in way.decode.reason)
    assert choose_placement(card(), replace(binned, tone=None), JPEGS).backend.pixels == "cuda"


def test_a_bin_that_a_device_makes_comes_back_as_one_picture() -> None:
    means, brightest = (replace(HD, bins=Bins(mode, 8, 1920, 1080)) for mode in ("mean", "max"))
    seconds = [choose_placement(card(), options, JPEGS, "cuda").seconds for options in (means, brightest)]
    assert seconds[0] < seconds[1], "the brightest of colours are chosen on the CPU, which needs all eight"


def test_videos_need_their_codec_on_the_card() -> None:
    video = replace(HD, source_kind="video")
    assert choose_placement(card(), video, SourceMedia(("h264",), 1920, 1080)).decode.device == "cuda:0"
    assert (
        choose_placement(card(), video, SourceMedia(("av1",), 1920, 1080)).decode.reason == "cuda:0 decode av1: unknown"
    )
    assert (
        "vp9 is decoded on the CPU" in choose_placement(card(), video, SourceMedia(("vp9",), 1920, 1080)).decode.reason
    )


def test_png_is_the_cpu_s() -> None:
    assert "png is decoded on the CPU" in choose_placement(card(), HD, SourceMedia(("png",), 1920, 1080)).decode.reason


def test_a_family_is_part_of_the_key_only_where_it_is_not_the_cpu_s() -> None:
    document = HD.to_json()
    assert "family" not in document
    other = replace(HD, family=Backend("cuda", "nvenc"))
    assert RenderOptions.from_json(other.to_json()) == other
    assert RenderOptions.from_json(document) == HD


ON_GPU = RenderOptions("h264", 70, Fraction(30), 64, 48, family=Backend("cuda", "cpu"))


def known(devices: int, state: str = "ok") -> list[Capability]:
    cpu = Capability("cpu", "transform", "nv12", "ok")
    return [cpu, *(Capability(f"cuda:{n}", "transform", "nv12", state, "hang") for n in range(devices))]  # type: ignore[arg-type]


@given(st.integers(0, 8), st.integers(1, 64), st.none() | st.integers(0, 16))
def test_no_device_has_more_than_its_slots_or_its_memory(devices: int, slots: int, most: int | None) -> None:
    shares = [allocate_gpu(known(devices), slot, slots, most) for slot in range(slots)]
    for number in range(devices):
        on = [one for one in shares if one and one.device == f"cuda:{number}"]
        assert sum(one.memory for one in on) <= 0.8 + 1e-9
        assert most is None or len(on) <= most
    if most is None and devices:
        assert None not in shares, "every slot has a share"


def test_without_a_gpu_no_slot_has_one() -> None:
    assert allocate_gpu(known(0), 0, 4, None) is None
    assert allocate_gpu((), 0, 4, 2) is None


def test_the_third_start_is_by_the_cpu() -> None:
    assert (
        gpu_disabled_reason(known(1), "cuda:0", ON_GPU, 1) is gpu_disabled_reason(known(1), "cuda:0", ON_GPU, 2) is None
    )
    assert gpu_disabled_reason(known(1), "cuda:0", ON_GPU, 3) == "two attempts on a GPU ended their slot"


def test_a_faulty_device_is_withheld_and_an_unproven_one_is_tried() -> None:
    reason = gpu_disabled_reason(known(2, "quarantined"), "cuda:1", ON_GPU, 1)
    assert reason == "cuda:1 transform nv12 is quarantined: hang"
    assert gpu_disabled_reason(known(1, "unknown"), "cuda:0", ON_GPU, 1) is None


def test_an_encoder_that_is_gone_withholds_only_who_needs_it() -> None:
    gone = [*known(1), Capability("cuda:0", "encode", "h264", "absent", "no NVENC")]
    assert gpu_disabled_reason(gone, "cuda:0", ON_GPU, 1) is None
    needs = replace(ON_GPU, family=Backend("cuda", "nvenc"))
    assert gpu_disabled_reason(gone, "cuda:0", needs, 1) == "cuda:0 encode h264 is absent: no NVENC"
