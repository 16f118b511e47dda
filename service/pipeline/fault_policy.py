"""Applies the `missing` and `corrupt` policies: skip the frame, hold the last good one, show black, or fail."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_never

from service.pipeline import planes
from service.pipeline.colour import PIXEL_FORMATS
from service.pipeline.frame_context import EncoderInput, FrameContext
from service.pipeline.frames import FrameReport, RenderFailed
from service.plan.render_plan import CLOCK_ANOMALIES, FrameOutcome, FramePolicy, FrameRef, SegmentPlan

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FaultPolicy:
    """Settles frames in plan order, remembering the last good one for `hold`."""

    def __init__(self, plan: SegmentPlan, prepare_frame: Callable[[Sequence[FrameRef]], FrameContext]) -> None:
        self._plan = plan
        self._prepare_frame = prepare_frame
        self._last_good: tuple[EncoderInput, int] | None = None
        self._searched_lead = False
        self._output_count = 0

    def apply(self, context: FrameContext) -> tuple[EncoderInput | None, FrameReport]:
        """(frame to encode or None when skipped, its report). Raises RenderFailed under `fail`."""
        left_out = self._has_faulty_members(context)
        if context.fault is None:
            assert context.frame is not None
            self._last_good = (context.frame, context.ref.index)
            outcome: FrameOutcome = "partial" if left_out else "resized" if context.reason else "ok"
            return self._emit(context, context.frame, outcome, None)
        return self._substitute(context, self._policy_for(context.fault))

    def _has_faulty_members(self, context: FrameContext) -> bool:
        """Whether a bin lacks members. Raises RenderFailed when one of them was to be there."""
        faulty = [member for member in context.members or () if member.outcome in ("missing", "corrupt")]
        for member in faulty:
            if self._policy_for(member.outcome) == "fail":
                raise RenderFailed(member.reason or "unusable", member.source)
        return bool(faulty)

    def _policy_for(self, fault: str) -> FramePolicy:
        return self._plan.options.missing if fault == "missing" else self._plan.options.corrupt

    def _substitute(self, context: FrameContext, policy: FramePolicy) -> tuple[EncoderInput | None, FrameReport]:
        match policy:
            case "skip":
                return None, _frame_report(context, None, "skipped", None)
            case "hold":
                return self._hold_last_good(context)
            case "black":
                return self._emit(context, self._black_frame(), "black", None)
            case "fail":
                raise RenderFailed(context.reason or "unusable", context.ref.index)
            case _:
                assert_never(policy)

    def _hold_last_good(self, context: FrameContext) -> tuple[EncoderInput, FrameReport]:
        if self._last_good is None and not self._searched_lead:
            self._last_good = self._nearest_good_before()
            self._searched_lead = True
        if self._last_good is None:
            return self._emit(context, self._black_frame(), "black", None)
        frame, index = self._last_good
        return self._emit(context, frame, "held", index)

    def _nearest_good_before(self) -> tuple[EncoderInput, int] | None:
        """Walk the frames before this segment backwards until one can be shown."""
        for refs in reversed(self._plan.lead_outputs()):
            if frame := self._prepare_frame(refs).frame:
                return frame, refs[0].index
        return None

    def _black_frame(self) -> EncoderInput:
        options = self._plan.options
        return planes.black_frame(options.width, options.height, PIXEL_FORMATS[options.form])

    def _emit(
        self, context: FrameContext, frame: EncoderInput, outcome: FrameOutcome, substituted_from: int | None
    ) -> tuple[EncoderInput, FrameReport]:
        self._output_count += 1
        return frame, _frame_report(context, self._output_count - 1, outcome, substituted_from)


def _frame_report(
    context: FrameContext, output: int | None, outcome: FrameOutcome, substituted_from: int | None
) -> FrameReport:
    ref = context.ref
    who = (output, ref.index, ref.key, context.sha256, context.decoder)
    clock = CLOCK_ANOMALIES[ref.clock] if ref.clock else None
    what = (outcome, context.reason, substituted_from, context.clip_counts)
    source = (ref.etag or None, ref.pts)
    fallback = f"{context.fallback.stage}: {context.fallback.reason}" if context.fallback else None
    return FrameReport(*who, *what, *source, context.members, _format_time(ref.captured), clock, fallback)


def _format_time(captured: int | None) -> str | None:
    if captured is None:
        return None
    return (EPOCH + timedelta(microseconds=captured)).isoformat().replace("+00:00", "Z")
