"""What a scan found out about an object, as rows of the catalogue."""

from datetime import UTC, datetime

from service.pipeline.probe import ImageFacts
from service.plan.natural_sort import natural_key, trailing_number
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo

LONGEST_REASON = 500


def readable(info: ObjectInfo, facts: ImageFacts) -> ScannedFrame:
    return ScannedFrame(
        natural_key(info.key),
        info.key,
        trailing_number(info.key),
        info.size,
        info.etag,
        facts.format,
        facts.width,
        facts.height,
        _zoned(facts.captured_at),
        bits=facts.bit_depth,
        gray=facts.gray,
        form=facts.form,
    )


def unreadable(info: ObjectInfo, reason: str) -> ScannedFrame:
    problem = reason.replace("\0", "")[:LONGEST_REASON]
    return ScannedFrame(
        natural_key(info.key), info.key, trailing_number(info.key), info.size, info.etag, problem=problem
    )


def _zoned(moment: datetime | None) -> datetime | None:
    """A camera's local time is told as UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
