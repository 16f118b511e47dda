"""Byte ranges, at the extremes of what a Range header can say."""

import pytest

from service.errors import RangeNotSatisfiable
from service.routers.http.object_streams import ByteRange, parse_range

SIZE = 1000
DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, SIZE, False)),
        ("bytes=0-", (0, SIZE, True)),
        ("bytes=10-19", (10, 20, True)),
        ("bytes=-10", (990, SIZE, True)),
        ("bytes=0-2000", (0, SIZE, True)),
        (f"bytes=0-{DIGITS}", (0, SIZE, True)),
        (f"bytes=-{DIGITS}", (0, SIZE, True)),
        (f"bytes={'0' * 5000}5-{'0' * 5000}7", (5, 8, True)),
        ("bytes=0-18446744073709551616", (0, SIZE, True)),
        ("bytes=-", (0, SIZE, False)),
        ("bytes=0-1,2-3", (0, SIZE, False)),
        ("bytes=\u0661-\u0662", (0, SIZE, False)),
        ("pages=0-1", (0, SIZE, False)),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int, bool]) -> None:
    start, stop, partial = expected
    assert parse_range(header, SIZE) == ByteRange(start, stop, SIZE, partial)


@pytest.mark.parametrize(
    "header", ["bytes=1000-", f"bytes={DIGITS}-", f"bytes={DIGITS}-{DIGITS}", "bytes=5-4", "bytes=-0"]
)
def test_ranges_behind_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        parse_range(header, SIZE)
    assert refused.value.headers == {"Content-Range": f"bytes */{SIZE}"}
