"""Slots are dealt out over devices; a device is withheld with a reason."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from service.plan.capability import Capability
from service.plan.placement import allocate_gpu, gpu_disabled_reason
from service.plan.render_plan import Backend, RenderOptions

OPTIONS = RenderOptions("h264", 70, Fraction(30), 64, 48, family=Backend("cuda", "cpu"))


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
        gpu_disabled_reason(known(1), "cuda:0", OPTIONS, 1)
        is gpu_disabled_reason(known(1), "cuda:0", OPTIONS, 2)
        is None
    )
    assert gpu_disabled_reason(known(1), "cuda:0", OPTIONS, 3) == "two attempts on a GPU ended their slot"


def test_a_faulty_device_is_withheld_and_an_unproven_one_is_tried() -> None:
    reason = gpu_disabled_reason(known(2, "quarantined"), "cuda:1", OPTIONS, 1)
    assert reason == "cuda:1 transform nv12 is quarantined: hang"
    assert gpu_disabled_reason(known(1, "unknown"), "cuda:0", OPTIONS, 1) is None


def test_an_encoder_that_is_gone_withholds_only_who_needs_it() -> None:
    gone = [*known(1), Capability("cuda:0", "encode", "h264", "absent", "no NVENC")]
    assert gpu_disabled_reason(gone, "cuda:0", OPTIONS, 1) is None
    needs = replace(OPTIONS, family=Backend("cuda", "nvenc"))
    assert gpu_disabled_reason(gone, "cuda:0", needs, 1) == "cuda:0 encode h264 is absent: no NVENC"
