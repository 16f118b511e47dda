"""What a scan found out about an object, as rows of the catalogue."""

from datetime import UTC, datetime

from service.pipeline.probe import ImageFacts
from service.plan.natural_sort import natural_key, trailing_number
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo

MAX_REASON_LENGTH = 500


def frame_row(info: ObjectInfo, facts: ImageFacts) -> ScannedFrame:
    return ScannedFrame(
        natural_key(info.key),
        info.key,
        trailing_number(info.key),
        info.size,
        info.etag,
        facts.format,
        facts.width,
        facts.height,
        _as_utc(facts.captured_at),
        bits=facts.bit_depth,
        gray=facts.gray,
        form=facts.pixel_format,
    )


def unreadable_row(info: ObjectInfo, reason: str) -> ScannedFrame:
    problem = reason.replace("\0", "")[:MAX_REASON_LENGTH]
    return ScannedFrame(
        natural_key(info.key), info.key, trailing_number(info.key), info.size, info.etag, problem=problem
    )


def _as_utc(moment: datetime | None) -> datetime | None:
    """A camera's local time is told as UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
