"""Applies the `missing`, `changed` and `corrupt` policies: skip the frame, hold the last good one, show black, or fail.

Here is decided what is shown for a faulty frame; that it is faulty is decided by `frame_context.run_stages`.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from service.clock import from_unix_microseconds
from service.pipeline import planes
from service.pipeline.colour import PIXEL_FORMATS
from service.pipeline.frame_context import FAULTS, EncoderInput, FrameContext
from service.pipeline.frames import FrameReport, RenderFailed
from service.plan.render_plan import CLOCK_ANOMALIES, FrameOutcome, FramePolicy, FrameRef, RenderOptions, SegmentPlan


def policy_for(options: RenderOptions, fault: str) -> FramePolicy:
    """What the render does about a fault of a frame."""
    return {"missing": options.missing, "changed": options.changed, "corrupt": options.corrupt}[fault]


class FaultPolicy:
    """Applied to the output frames of a segment in order; remembers the last good frame for `hold`."""

    def __init__(self, plan: SegmentPlan, render_output: Callable[[Sequence[FrameRef]], FrameContext]) -> None:
        self._plan = plan
        self._render_output = render_output
        self._last_good: tuple[EncoderInput, int] | None = None
        self._searched_lead = False
        self._output_count = 0

    def apply(self, context: FrameContext) -> tuple[EncoderInput | None, FrameReport]:
        """(frame to encode or None if skipped, its report). Raises RenderFailed under `fail`."""
        partial = self._has_faulty_members(context)
        if context.fault is None:
            assert context.frame is not None
            self._last_good = (context.frame, context.ref.index)
            outcome: FrameOutcome = "partial" if partial else "resized" if context.reason else "ok"
            return self._show(context, context.frame, outcome)
        policy = policy_for(self._plan.options, context.fault)
        match policy:
            case "skip":
                return None, _frame_report(context, None, "skipped", None)
            case "hold":
                return self._hold_last_good(context)
            case "black":
                return self._show(context, self._black_frame(), "black")
            case "fail":
                raise RenderFailed(context.reason or "unusable", context.ref.index)
            case _:
                assert_never(policy)

    def _has_faulty_members(self, context: FrameContext) -> bool:
        """Whether members of a bin or grid have faults. Raises RenderFailed if the policy for one of them is `fail`."""
        faulty = [(place, member) for place, member in enumerate(context.members or ()) if member.outcome in FAULTS]
        for place, member in faulty:
            if policy_for(self._plan.options, member.outcome) == "fail":
                of_panel = f" (in panel {place})" if self._plan.options.grid else ""
                raise RenderFailed(f"{member.reason or 'unusable'}{of_panel}", member.source)
        return bool(faulty)

    def _hold_last_good(self, context: FrameContext) -> tuple[EncoderInput, FrameReport]:
        """Show the last good frame of this segment, else the nearest of the lead frames before it, else black."""
        if self._last_good is None and not self._searched_lead:
            self._searched_lead = True
            for refs in reversed(self._plan.lead_outputs()):
                if frame := self._render_output(refs).frame:
                    self._last_good = frame, refs[0].index
                    break
        if self._last_good is None:
            return self._show(context, self._black_frame(), "black")
        frame, index = self._last_good
        return self._show(context, frame, "held", index)

    def _black_frame(self) -> EncoderInput:
        options = self._plan.options
        return planes.black_frame(options.width, options.height, PIXEL_FORMATS[options.form])

    def _show(
        self, context: FrameContext, frame: EncoderInput, outcome: FrameOutcome, substituted_from: int | None = None
    ) -> tuple[EncoderInput, FrameReport]:
        self._output_count += 1
        return frame, _frame_report(context, self._output_count - 1, outcome, substituted_from)


def _frame_report(
    context: FrameContext, output: int | None, outcome: FrameOutcome, substituted_from: int | None
) -> FrameReport:
    ref, fallback = context.ref, context.fallback
    captured = None if ref.captured is None else from_unix_microseconds(ref.captured)
    return FrameReport(
        output=output,
        source=ref.index,
        key=ref.key,
        sha256=context.sha256,
        decoder=context.decoder,
        outcome=outcome,
        reason=context.reason,
        substituted_from=substituted_from,
        clipped=context.clip_counts,
        etag=ref.etag or None,
        pts=ref.pts,
        members=context.members,
        captured_at=captured.isoformat().replace("+00:00", "Z") if captured else None,
        clock=CLOCK_ANOMALIES[ref.clock] if ref.clock else None,
        fallback=f"{fallback.stage}: {fallback.reason}" if fallback else None,
        conversions=context.conversions,
    )
