"""Capture times: microseconds since the Unix epoch as UTC datetimes."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_unix_microseconds(microseconds: int) -> datetime:
    """The exact time; `datetime.fromtimestamp` would round through a float."""
    return _EPOCH + timedelta(microseconds=microseconds)
