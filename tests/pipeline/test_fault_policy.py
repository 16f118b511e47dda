"""What is shown in place of frames that are missing, corrupt or of another shape."""

from typing import Any

import numpy as np
import pytest

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import RenderFailed
from tests.pipeline.rendering import decode_pictures, numbered_jpegs, read_numbers, render
from tests.support.data import media


def frames_with_gap(index: int = 3, count: int = 6) -> list[bytes | None]:
    frames = numbered_jpegs(count)
    frames[index] = None
    return frames


def frames_with_damage(index: int = 3, count: int = 6) -> list[bytes | None]:
    frames = numbered_jpegs(count)
    frames[index] = b"<html>503</html>"
    return frames


@pytest.mark.parametrize(("frames", "policy"), [(frames_with_gap(), "missing"), (frames_with_damage(), "corrupt")])
class TestEachPolicy:
    def test_skip_leaves_the_frame_out(self, frames: list[bytes | None], policy: str) -> None:
        result = render(frames, **{policy: "skip"})
        assert read_numbers(result.data) == [0, 1, 2, 4, 5]
        assert [report.output for report in result.reports] == [0, 1, 2, None, 3, 4]
        assert result.reports[3].outcome == "skipped"
        assert result.reports[3].reason

    def test_hold_repeats_the_last_good_frame(self, frames: list[bytes | None], policy: str) -> None:
        result = render(frames, **{policy: "hold"})
        assert read_numbers(result.data) == [0, 1, 2, 2, 4, 5]
        assert (result.reports[3].outcome, result.reports[3].substituted_from) == ("held", 2)

    def test_black_is_black(self, frames: list[bytes | None], policy: str) -> None:
        result = render(frames, **{policy: "black"})
        assert decode_pictures(result.data)[3].max() <= 2
        assert result.reports[3].outcome == "black"

    def test_fail_names_the_frame(self, frames: list[bytes | None], policy: str) -> None:
        with pytest.raises(RenderFailed) as failure:
            render(frames, **{policy: "fail"})
        assert failure.value.frame_index == 3
        assert failure.value.reason


def test_an_object_that_vanished_is_missing() -> None:
    from service.pipeline.segment import render_segment
    from service.plan.render_plan import FrameRef, SegmentPlan
    from tests.pipeline.rendering import MemoryObjects, options

    plan = SegmentPlan(0, 0, "bucket", options(missing="skip"), (FrameRef(0, "gone.jpg"),))
    reader = MemoryObjects({})
    report = render_segment(plan, reader, reader, FrameWatch()).reports[0]
    assert (report.outcome, report.reason) == ("skipped", "the object does not exist")


def test_hold_at_the_start_walks_the_lead_backwards() -> None:
    frames: list[bytes | None] = [*numbered_jpegs(2), b"junk", None, None, *numbered_jpegs(6)[5:]]
    result = render(frames, lead=4, missing="hold", corrupt="hold")
    assert read_numbers(result.data) == [1, 5]
    assert (result.reports[0].outcome, result.reports[0].substituted_from) == ("held", 1)


def test_hold_without_any_good_frame_is_black() -> None:
    result = render([b"junk", None, None, *numbered_jpegs(1)], lead=1, missing="hold")
    assert [picture.max() <= 2 for picture in decode_pictures(result.data)[:2]] == [True, True]
    assert [report.outcome for report in result.reports] == ["black", "black", "ok"]


def test_a_held_frame_is_never_a_black_stand_in() -> None:
    frames: list[bytes | None] = [*numbered_jpegs(2), None, b"junk"]
    result = render(frames, missing="black", corrupt="hold")
    assert read_numbers(result.data) == [0, 1, 0, 1]
    assert result.reports[3].substituted_from == 1


def render_wide_frame(**changes: Any) -> Any:
    return render([media.jpeg(media.flat_picture((200, 200, 200), 1280, 720))], width=640, height=480, **changes)


def test_pad_fits_inside_with_black_bars() -> None:
    result = render_wide_frame(mismatch="pad")
    column = decode_pictures(result.data)[0][:, 320, 0]
    assert np.flatnonzero(column > 100)[[0, -1]].tolist() == [60, 419]
    assert column[:56].max() <= 4
    assert result.reports[0].outcome == "resized"
    assert result.reports[0].reason == "1280x720 padded into 640x480"


def test_scale_stretches() -> None:
    result = render_wide_frame(mismatch="scale")
    assert decode_pictures(result.data)[0].min() > 190
    assert result.reports[0].reason == "1280x720 stretched to 640x480"


def test_fail_refuses_another_shape() -> None:
    with pytest.raises(RenderFailed, match="1280x720 does not match 640x480"):
        render_wide_frame(mismatch="fail")


def test_rounding_to_even_sizes_is_no_mismatch() -> None:
    frame = media.jpeg(media.numbered_picture(77, 1920, 1080))
    result = render([frame], width=854, height=480, mismatch="fail")
    assert (result.reports[0].outcome, read_numbers(result.data)) == ("ok", [77])


def test_an_odd_size_grows_by_its_own_edge() -> None:
    pixels = media.numbered_picture(42, 127, 95)
    result = render([media.jpeg(pixels, subsampling="4:4:4")], quality=95)
    picture = decode_pictures(result.data)[0]
    assert result.reports[0].outcome == "ok"
    assert np.abs(picture[:95, :127].astype(int) - pixels).max() <= 12
    assert np.abs(picture[:, 127].astype(int) - picture[:, 126]).max() <= 4
