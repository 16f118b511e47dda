"""What stands in for a frame that is missing or corrupt: the one place where policies are decided."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_never

from service.pipeline import planes
from service.pipeline.form import FORMS
from service.pipeline.frames import FrameReport, RenderFailed
from service.pipeline.work import Ready, Work
from service.plan.render_plan import CLOCK_ANOMALIES, FrameOutcome, FramePolicy, FrameRef, SegmentPlan

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Policies:
    """Settles frames in plan order, remembering the last good one for `hold`."""

    def __init__(self, plan: SegmentPlan, prepare: Callable[[Sequence[FrameRef]], Work]) -> None:
        self._plan = plan
        self._prepare = prepare
        self._good: tuple[Ready, int] | None = None
        self._lead_searched = False
        self._output = 0

    def settle(self, work: Work) -> tuple[Ready | None, FrameReport]:
        """(frame to encode or None when skipped, its report). Raises RenderFailed under `fail`."""
        left_out = self._left_out(work)
        if work.fault is None:
            assert work.frame is not None
            self._good = (work.frame, work.ref.index)
            outcome: FrameOutcome = "partial" if left_out else "resized" if work.reason else "ok"
            return self._placed(work, work.frame, outcome, None)
        return self._substitute(work, self._policy(work.fault))

    def _left_out(self, work: Work) -> bool:
        """Whether a bin lacks members. Raises RenderFailed when one of them was to be there."""
        faulty = [member for member in work.members or () if member.outcome in ("missing", "corrupt")]
        for member in faulty:
            if self._policy(member.outcome) == "fail":
                raise RenderFailed(member.reason or "unusable", member.source)
        return bool(faulty)

    def _policy(self, fault: str) -> FramePolicy:
        return self._plan.options.missing if fault == "missing" else self._plan.options.corrupt

    def _substitute(self, work: Work, policy: FramePolicy) -> tuple[Ready | None, FrameReport]:
        match policy:
            case "skip":
                return None, _report(work, None, "skipped", None)
            case "hold":
                return self._held(work)
            case "black":
                return self._placed(work, self._black(), "black", None)
            case "fail":
                raise RenderFailed(work.reason or "unusable", work.ref.index)
            case _:
                assert_never(policy)

    def _held(self, work: Work) -> tuple[Ready, FrameReport]:
        if self._good is None and not self._lead_searched:
            self._good = self._nearest_lead()
            self._lead_searched = True
        if self._good is None:
            return self._placed(work, self._black(), "black", None)
        frame, index = self._good
        return self._placed(work, frame, "held", index)

    def _nearest_lead(self) -> tuple[Ready, int] | None:
        """Walk the frames before this segment backwards until one can be shown."""
        for refs in reversed(self._plan.lead_outputs()):
            if frame := self._prepare(refs).frame:
                return frame, refs[0].index
        return None

    def _black(self) -> Ready:
        options = self._plan.options
        return planes.black(options.width, options.height, FORMS[options.form])

    def _placed(
        self, work: Work, frame: Ready, outcome: FrameOutcome, held_from: int | None
    ) -> tuple[Ready, FrameReport]:
        self._output += 1
        return frame, _report(work, self._output - 1, outcome, held_from)


def _report(work: Work, output: int | None, outcome: FrameOutcome, held_from: int | None) -> FrameReport:
    ref = work.ref
    who = (output, ref.index, ref.key, work.sha256, work.decoder)
    clock = CLOCK_ANOMALIES[ref.clock] if ref.clock else None
    what = (outcome, work.reason, held_from, work.clipped)
    source = (ref.etag or None, ref.pts)
    fallback = f"{work.fallback.stage}: {work.fallback.reason}" if work.fallback else None
    return FrameReport(*who, *what, *source, work.members, _moment(ref.captured), clock, fallback)


def _moment(captured: int | None) -> str | None:
    if captured is None:
        return None
    return (EPOCH + timedelta(microseconds=captured)).isoformat().replace("+00:00", "Z")
