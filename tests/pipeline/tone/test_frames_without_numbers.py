"""Float frames of which no sample is a number: the receipt says so, and the policy for corrupt frames decides."""

from typing import Any

import numpy as np
import pytest

from service.errors import InvalidRequest
from service.pipeline.cuda.eligibility import CandidateSelector
from service.pipeline.frames import RenderFailed
from service.plan.geometry import Bins
from service.plan.tone import Tone, ToneSpec, resolve_tone
from tests.pipeline.rendering import decode_pictures, options, render
from tests.pipeline.test_planned_formats import planned
from tests.support.data import media

WINDOW = Tone(0, 1)
NO_NUMBER = "none of its float32 samples is a number"


def flat(value: float, dtype: str = "f4", channels: tuple[int, ...] = ()) -> bytes:
    return media.tiff(np.full((96, 128, *channels), value, dtype))


def levels(data: bytes) -> list[int]:
    return [int(picture[48, 64, 0]) for picture in decode_pictures(data)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tone", [WINDOW, None])
def test_a_frame_without_a_number_is_held_and_named(value: float, tone: Tone | None) -> None:
    good: list[bytes | None] = [flat(0.5), flat(value), flat(1)] if tone else [flat(value)]
    result = render(good, tone=tone, corrupt="hold", quality=95)
    report = result.reports[1 if tone else 0]
    assert (report.outcome, NO_NUMBER in (report.reason or "")) == ("held" if tone else "black", True)
    if tone:
        assert np.abs(np.array(levels(result.data)) - [128, 128, 255]).max() <= 2


@pytest.mark.parametrize(("policy", "shown"), [("skip", [128, 255]), ("black", [128, 0, 255])])
def test_the_policy_decides(policy: str, shown: list[int]) -> None:
    result = render([flat(0.5), flat(np.nan), flat(1)], tone=WINDOW, corrupt=policy, quality=95)
    assert np.abs(np.array(levels(result.data)) - shown).max() <= 2
    with pytest.raises(RenderFailed, match=NO_NUMBER):
        render([flat(0.5), flat(np.nan)], tone=WINDOW, corrupt="fail")


@pytest.mark.parametrize(("dtype", "channels"), [("f2", ()), ("f8", ()), ("f4", (3,))])
def test_other_floats(dtype: str, channels: tuple[int, ...]) -> None:
    report = render([flat(np.nan, dtype, channels)], tone=WINDOW).reports[0]
    assert report.reason == f"none of its {np.dtype(dtype)} samples is a number (all are NaN or infinite)"


def test_one_number_is_enough() -> None:
    frame = np.full((96, 128), np.nan, np.float32)
    frame[95, 127] = 1
    report = render([media.tiff(frame)], tone=WINDOW).reports[0]
    assert (report.outcome, report.clipped) == ("ok", (0, 0, 96 * 128 - 1))


def half(left: bool) -> bytes:
    frame = np.full((96, 128), 0.5, np.float32)
    frame[:, :64] = np.nan if left else 0.5
    frame[:, 64:] = 0.5 if left else np.nan
    return media.tiff(frame)


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_bins(mode: Any) -> None:
    """A frame without a number is left out. If no sample is a number in both frames, the bin has none either."""
    bins = Bins(mode, 2, 128, 96)
    result = render([flat(0.5), flat(np.nan), flat(1), flat(1)], tone=WINDOW, bins=bins, quality=95)
    first, second = result.reports
    assert (first.outcome, second.outcome) == ("partial", "ok")
    assert first.reason and NO_NUMBER in first.reason
    assert np.abs(np.array(levels(result.data)) - [128, 255]).max() <= 2
    (report,) = render([half(True), half(False)], tone=WINDOW, bins=bins, corrupt="hold").reports
    assert report.outcome == "black" and "none of its float32 samples is a number" in (report.reason or "")


def test_a_bin_of_several_types_without_a_number_in_one() -> None:
    frames = [half(True), half(False), media.tiff(np.full((96, 128), 1, np.uint16))]
    result = render(frames, tone=WINDOW, bins=Bins("mean", 3, 128, 96), quality=95)
    assert result.reports[0].outcome == "ok"
    assert levels(result.data)[0] >= 253


def test_a_gpu_leaves_such_frames_to_the_stages_that_report_them() -> None:
    selector = CandidateSelector(options(tone=WINDOW), device_counts_clipped=True)
    assert selector.select(flat(np.nan)) is None
    assert selector.select(flat(0.5)) is not None


def test_a_sequence_without_any_number_can_have_a_fixed_window() -> None:
    """The scan has no levels; the frames that it did not measure may still have numbers."""
    frames = [flat(np.nan)]
    assert planned(frames, "h264").tone is None
    fixed = planned(frames, "h264", tone=ToneSpec("fixed", 0, 2, 0.5, "viridis"))
    assert fixed.tone == Tone(0, 2, 0.5, "viridis")
    with pytest.raises(InvalidRequest, match="found no number") as refusal:
        planned(frames, "h264", tone=ToneSpec("minmax"))
    assert refusal.value.errors[0].pointer == "#/tone/mode"
    with pytest.raises(InvalidRequest, match="found none that can be decoded"):
        resolve_tone(ToneSpec("fixed", 0, 2), None)
    report = render([flat(0.5)]).reports[0]
    assert report.reason and "request tone with mode fixed" in report.reason
