"""Grids: renders the panels of an output frame, each as a frame of its own, and pastes them into one picture."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from av import VideoFrame

from service.pipeline import planes
from service.pipeline.colour import FULL_RANGE, PIXEL_FORMATS
from service.pipeline.composites.bins import member_report
from service.pipeline.fault_policy import policy_for
from service.pipeline.frame_context import FrameContext
from service.pipeline.picture import ClipCounts
from service.plan.grid import Grid, Panel
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan

RunFrame = Callable[[FrameRef], FrameContext]
DrawLabel = Callable[[VideoFrame, FrameRef], Callable[[], None]]


def panel_options(options: RenderOptions, grid: Grid, panel: Panel) -> RenderOptions:
    """The options for the frames of one panel, which are rendered at its size."""
    aspect = Fraction(1) if panel.square else None
    alone = replace(options, grid=None, overlay=None, outputs=(), pixel_aspect=aspect)
    return replace(alone, width=grid.width, height=grid.height, source_kind=panel.kind, tone=panel.tone)


class GridComposer:
    """Makes one picture of the frames of all panels.

    A frame that cannot be shown leaves its panel as its policy says: `hold` shows the last good frame of this panel,
    `black` and `skip` nothing. `skip` leaves out the whole picture if it is the frame of the first panel.
    """

    def __init__(self, plan: SegmentPlan, grid: Grid, run_frame: RunFrame) -> None:
        self._plan, self._options, self._grid, self._run_frame = plan, plan.options, grid, run_frame
        self._format = PIXEL_FORMATS[plan.options.form]
        self._draw_labels = [self._label_drawer(panel) for panel in grid.panels]
        # The last good frame of each panel; None if there is none in the segment and in the frames before it.
        self._last_good: dict[int, VideoFrame | None] = {}
        # What was made last for each panel: a slow camera shows the same frame again and again.
        self._made: dict[int, FrameContext] = {}

    def render(self, refs: Sequence[FrameRef]) -> FrameContext:
        """One context for the picture, with a report of each panel."""
        contexts = [self._make(ref) for ref in refs]
        result = FrameContext(replace(refs[0], key=None))
        result.members = tuple(map(member_report, contexts))
        result.conversions = tuple(dict.fromkeys(chain.from_iterable(context.conversions for context in contexts)))
        counts = [context.clip_counts for context in contexts if context.clip_counts]
        result.clip_counts = ClipCounts(*map(sum, zip(*counts, strict=True))) if counts else None
        result.reason = _reason(contexts)
        for context in contexts:
            if context.fault is None:
                assert isinstance(context.frame, VideoFrame), "panels are decoded on the CPU"
                self._last_good[_panel(context.ref)] = context.frame
        if self._leaves_out(contexts):
            result.fault = contexts[0].fault
        else:
            result.frame = self._compose(contexts)
        return result

    def _make(self, ref: FrameRef) -> FrameContext:
        """The frame at the size of its panel, made once for consecutive pictures that show it."""
        made = self._made.get(_panel(ref))
        if made is None or made.ref != ref:
            made = self._made[_panel(ref)] = self._run_frame(ref)
        return made

    def _leaves_out(self, contexts: Sequence[FrameContext]) -> bool:
        """Whether there is no picture here: the frame of the first panel is to be skipped."""
        first = contexts[0]
        return first.fault is not None and not first.ref.panel and policy_for(self._options, first.fault) == "skip"

    def _compose(self, contexts: Sequence[FrameContext]) -> VideoFrame:
        canvas = planes.black_frame(self._options.width, self._options.height, self._format)
        for context in contexts:
            panel = _panel(context.ref)
            if (frame := self._shown(panel, context)) is not None:
                restore = self._draw_labels[panel](frame, context.ref)
                planes.paste(frame, canvas, *self._grid.place(panel))
                restore()
        return canvas

    def _shown(self, panel: int, context: FrameContext) -> VideoFrame | None:
        if context.fault is None:
            return self._last_good[panel]
        if policy_for(self._options, context.fault) != "hold":
            return None
        if panel not in self._last_good:
            self._last_good[panel] = self._find_before(panel)
        return self._last_good[panel]

    def _find_before(self, panel: int) -> VideoFrame | None:
        """The nearest good frame of the panel before the segment."""
        for refs in reversed(self._plan.lead_outputs()):
            for ref in refs:
                if _panel(ref) == panel and isinstance(frame := self._run_frame(ref).frame, VideoFrame):
                    return frame
        return None

    def _label_drawer(self, panel: Panel) -> DrawLabel:
        """Draws the label onto a frame, and returns what takes it off again: the frame may be held."""
        if panel.label is None:
            return lambda _frame, _ref: lambda: None
        from service.pipeline.overlay.caption import OverlayRenderer  # loads Pillow's font

        full_range = self._format.range == FULL_RANGE
        return OverlayRenderer(panel.label, self._grid.width, self._grid.height, full_range=full_range).draw


def _panel(ref: FrameRef) -> int:
    return ref.panel or 0


def _reason(contexts: Sequence[FrameContext]) -> str | None:
    """What is wrong with the first frame that is not shown, and how many are not. Bars are nothing to tell of here:
    cameras differ, and the report of each panel has them."""
    faulty = [context for context in contexts if context.fault]
    if not faulty:
        return None
    first = faulty[0]
    where = f"panel {_panel(first.ref)}, frame {first.ref.index}: {first.reason}"
    return f"{len(faulty)} of {len(contexts)} panels without their frame; {where}"
