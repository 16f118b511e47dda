"""The wall clock, in UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def from_unix_microseconds(microseconds: int) -> datetime:
    """Exactly, for any capture time: `datetime.fromtimestamp` rounds through a float."""
    return _EPOCH + timedelta(microseconds=microseconds)
