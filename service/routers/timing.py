"""What a request says about time: its rate or pace, and the part of the sequence it means."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import invalid_field
from service.plan.timing import NOMINAL, CapturedTiming, exact_rate
from service.routers.video_models import FrameRange, VideoGenerationRequest
from service.store.selection import Window, captured_within


def steady_rate(body: VideoGenerationRequest) -> Fraction:
    """Pictures a second, before duration_seconds is known to mean a rate. Raises Invalid for none or two of them."""
    if body.fps is not None and body.duration_seconds is not None:
        raise invalid_field("#/duration_seconds", "give either fps or duration_seconds, not both", "exclusive")
    if body.fps is None and body.duration_seconds is None and body.timing == "uniform":
        raise invalid_field("#/fps", "give fps, or duration_seconds instead of it", "missing")
    return NOMINAL if body.fps is None else exact_rate(body.fps)


def captured_timing(dataset: dict[str, Any], body: VideoGenerationRequest) -> CapturedTiming | None:
    """None for a steady rate. Raises Invalid where there are no capture times, or the fields do not go together."""
    if body.timing == "uniform":
        if body.speed is not None:
            raise invalid_field("#/speed", "speed goes with timing captured only", "needs_captured")
        return None
    if body.duration_seconds is not None:
        detail = "with timing captured the capture times say how long the video lasts: give speed instead"
        raise invalid_field("#/duration_seconds", detail, "exclusive")
    require_capture_times(dataset, "#/timing", "use timing uniform")
    return CapturedTiming(
        Fraction(1 if body.speed is None else body.speed).limit_denominator(1000) or Fraction(1, 1000)
    )


def require_capture_times(dataset: dict[str, Any], pointer: str, instead: str) -> None:
    if dataset["kind"] == "video":
        detail = f"the catalogue has no capture times of a source video's pictures: {instead}"
    elif dataset["captured_from"] is None:
        detail = f"no frame of the dataset says when it was captured: {instead}"
    else:
        return
    raise invalid_field(pointer, detail, "no_capture_times")


async def frame_range(
    connection: AsyncConnection, dataset: dict[str, Any], body: VideoGenerationRequest
) -> tuple[int | None, int | None]:
    """(start, stop) on the time line. Raises Invalid for a window that is none, or that no frame lies in."""
    frames = body.frames
    if frames is None or (frames.since is None and frames.until is None):
        return (frames.start, frames.stop) if frames else (None, None)
    _check_window(frames, dataset)
    window = Window(_aware(frames.since), _aware(frames.until))
    found = await captured_within(connection, dataset, window, body.missing)
    if found is None:
        span = f"{dataset['captured_from'].isoformat()} to {dataset['captured_to'].isoformat()}"
        raise invalid_field("#/frames", f"no frame was captured in this window: the dataset has {span}", "empty_range")
    return found


def _check_window(frames: FrameRange, dataset: dict[str, Any]) -> None:
    pointer = "#/frames/from" if frames.since else "#/frames/to"
    require_capture_times(dataset, pointer, "choose frames by start and stop")
    if frames.start or frames.stop is not None:
        raise invalid_field(pointer, "give either a time window or start and stop, not both", "exclusive")
    since, until = _aware(frames.since), _aware(frames.until)
    if since and until and since >= until:
        raise invalid_field("#/frames/to", "the window ends before it begins", "empty_range")


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
