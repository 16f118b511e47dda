"""Frames whose object is not the one of the scan: the policy, bins, lead frames, TIFF pages, videos, on both paths."""

import io
from typing import Any, BinaryIO

import pytest

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import (
    FrameChanged,
    FrameDamaged,
    FrameMissing,
    FrameUnavailable,
    FrameUnreadable,
    RenderFailed,
    SegmentResult,
)
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.pipeline.stills.preview import PreviewOptions, image_preview
from service.plan.geometry import Bins
from service.plan.render_plan import Backend, FrameRef, SegmentPlan
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import CUDA, PreparedSlotDevice
from tests.pipeline.images.test_tiff_stack import STACKS, frame_refs
from tests.pipeline.rendering import MemoryObjects, decode_pictures, numbered_jpegs, options, read_numbers
from tests.support.cuda_doubles.driver import DriverDouble
from tests.support.data import media

CPU = Backend()
MEAN3 = Bins("mean", 3, 128, 96)


class FaultyObjects(MemoryObjects):
    """Raises what `faults` says of a key."""

    def __init__(self, objects: dict[str, bytes], faults: dict[str, Exception]) -> None:
        super().__init__(objects)
        self.faults = faults

    def read(self, ref: FrameRef) -> bytes:
        if ref.key in self.faults:
            raise self.faults[ref.key]
        return super().read(ref)


def render_frames(faults: dict[int, Exception], count: int = 6, lead: int = 0, **changes: Any) -> SegmentResult:
    objects = {f"{index}.jpg": data for index, data in enumerate(numbered_jpegs(count)) if data}
    refs = tuple(FrameRef(index, f"{index}.jpg", "e", 5) for index in range(count))
    store = FaultyObjects(objects, {f"{index}.jpg": error for index, error in faults.items()})
    plan = SegmentPlan(0, 0, "bucket", options(**changes), refs[lead:], refs[:lead])
    on_device = changes.get("family") == CUDA
    device = PreparedSlotDevice(DriverDouble()) if on_device else None
    return render_segment(plan, store, store, FrameWatch(), device)


BOTH_PATHS = pytest.mark.parametrize("family", [CPU, CUDA], ids=["cpu", "cuda"])
CHANGED = FrameChanged("its etag is b and not a")


@BOTH_PATHS
def test_each_policy(family: Backend) -> None:
    with pytest.raises(RenderFailed, match=r"frame 3: the frame changed since the scan.*etag is b and not a"):
        render_frames({3: CHANGED}, family=family)
    skipped = render_frames({3: CHANGED}, family=family, changed="skip")
    assert (read_numbers(skipped.data), skipped.reports[3].outcome) == ([0, 1, 2, 4, 5], "skipped")
    held = render_frames({3: CHANGED}, family=family, changed="hold")
    assert (read_numbers(held.data), held.reports[3].outcome) == ([0, 1, 2, 2, 4, 5], "held")
    black = render_frames({3: CHANGED}, family=family, changed="black")
    assert decode_pictures(black.data)[3].max() <= 2
    for result in (skipped, held, black):
        assert result.transient
        assert result.reports[3].reason == CHANGED.reason
        assert (result.reports[3].sha256, result.reports[3].etag) == (None, "e")


@BOTH_PATHS
@pytest.mark.parametrize(
    ("fault", "policy"), [(CHANGED, "changed"), (FrameMissing(), "missing"), (FrameDamaged("wrong bytes"), "corrupt")]
)
def test_a_bin_names_the_member_and_is_transient(family: Backend, fault: Exception, policy: str) -> None:
    result = render_frames({1: fault}, bins=MEAN3, family=family, **{policy: "skip"})
    assert [report.outcome for report in result.reports] == ["partial", "ok"]
    assert [member.outcome for member in result.reports[0].members or ()] == ["ok", policy, "ok"]
    assert result.transient
    with pytest.raises(RenderFailed, match="frame 1"):
        render_frames({1: fault}, bins=MEAN3, family=family, **{policy: "fail"})


def test_a_bin_without_a_good_member_follows_the_policy_of_the_changed_one() -> None:
    faults: dict[int, Exception] = {0: FrameMissing(), 1: CHANGED, 2: FrameMissing()}
    result = render_frames(faults, bins=MEAN3, changed="black", missing="skip")
    assert [report.outcome for report in result.reports] == ["black", "ok"]


@BOTH_PATHS
@pytest.mark.parametrize("fault", [CHANGED, FrameMissing()])
def test_a_lead_frame_that_another_attempt_may_find_makes_the_result_transient(
    family: Backend, fault: Exception
) -> None:
    """No report names it: the frame before it is held, and looks like the right one."""
    damaged = FrameUnreadable("it is no picture")
    result = render_frames({1: fault, 2: damaged}, lead=2, corrupt="hold", changed="hold", family=family)
    assert (result.reports[0].outcome, result.reports[0].substituted_from) == ("held", 0)
    assert result.transient
    assert not render_frames({2: damaged}, lead=2, corrupt="hold", family=family).transient


@BOTH_PATHS
def test_a_gap_and_lasting_damage_are_not_transient(family: Backend) -> None:
    objects = {"0": numbered_jpegs(1)[0] or b"", "2": b"no picture"}
    store = MemoryObjects(objects)
    refs = (FrameRef(0, "0"), FrameRef(1, None), FrameRef(2, "2"))
    plan = SegmentPlan(0, 0, "bucket", options(missing="hold", family=family), refs)
    device = PreparedSlotDevice(DriverDouble()) if family == CUDA else None
    result = render_segment(plan, store, store, FrameWatch(), device)
    assert [report.outcome for report in result.reports] == ["ok", "held", "held"]
    assert not result.transient


class ChangingFile(io.BytesIO):
    """A source that somebody replaces after so many bytes were read."""

    def __init__(self, data: bytes, good_bytes: int) -> None:
        super().__init__(data)
        self._good_bytes = good_bytes

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._good_bytes -= len(data)
        if self._good_bytes < 0:
            raise FrameChanged("its etag is b and not a")
        return data


class ChangingSource(MemoryObjects):
    """Each opening reads as many bytes of the planned content; `opened` counts the openings."""

    def __init__(self, data: bytes, good_bytes: int) -> None:
        super().__init__({})
        self._data, self._good_bytes, self.opened = data, good_bytes, 0

    def open(self, ref: FrameRef) -> BinaryIO:
        self.opened += 1
        if self.opened > 1:
            raise CHANGED
        return ChangingFile(self._data, self._good_bytes)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_stack_that_changes_while_its_pages_are_read(share: float) -> None:
    data = STACKS["tifffile"]
    source = ChangingSource(data, int(share * len(data)))
    plan = SegmentPlan(0, 0, "b", options(tone=Tone(0, 4095), changed="black"), frame_refs(data))
    result = render_segment(plan, source, source, FrameWatch())
    outcomes = [report.outcome for report in result.reports]
    assert outcomes == sorted(outcomes, reverse=True) and outcomes[-1] == "black", "ok until it changed"
    assert result.transient


def test_a_preview_of_a_frame_that_was_just_replaced_says_so() -> None:
    store = FaultyObjects({}, {"x.jpg": CHANGED})
    with pytest.raises(FrameUnavailable, match="changed since the scan"):
        image_preview(FrameRef(0, "x.jpg", "e", 5), store, store, PreviewOptions(64, 10_000))


VIDEO = media.video([media.numbered_picture(number) for number in range(60)], codec="libx264")


@BOTH_PATHS
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_source_video_that_changes_while_it_is_decoded(family: Backend, share: float) -> None:
    """The pictures that were decoded are those of the scan; the others are changed, whatever FFmpeg makes of it."""
    facts = probe_video(io.BytesIO(VIDEO))
    refs = tuple(FrameRef(index, "v.mp4", "e", len(VIDEO), pts=pts) for index, pts in enumerate(facts.pts))
    source = ChangingSource(VIDEO, int(share * len(VIDEO)))
    settings = options(source_kind="video", changed="skip", family=family)
    device = PreparedSlotDevice(DriverDouble()) if family == CUDA else None
    result = render_segment(SegmentPlan(0, 0, "b", settings, refs), source, source, FrameWatch(), device)
    shown = [report.source for report in result.reports if report.outcome == "ok"]
    assert {report.outcome for report in result.reports} <= {"ok", "skipped"}
    assert all("changed" in (report.reason or "") for report in result.reports if report.outcome == "skipped")
    assert len(shown) < 60 and shown == list(range(len(shown)))
    assert (read_numbers(result.data) if shown else []) == shown
    assert result.transient


def test_colours_that_were_assumed_are_transient() -> None:
    """An old scan did not note them, and the source is away only when they are asked for."""

    class AwayAtFirst(MemoryObjects):
        def open(self, ref: FrameRef) -> BinaryIO:
            self.read_keys.append(ref.key)
            if len(self.read_keys) == 1:
                raise FrameMissing
            return io.BytesIO(VIDEO)

    refs = tuple(FrameRef(0, "v.mp4", "e", 5, pts=pts) for pts in probe_video(io.BytesIO(VIDEO)).pts[:2])
    source = AwayAtFirst({})
    plan = SegmentPlan(0, 0, "b", options(source_kind="video"), refs)
    result = render_segment(plan, source, source, FrameWatch())
    assert [report.outcome for report in result.reports] == ["ok", "ok"]
    assert result.transient
