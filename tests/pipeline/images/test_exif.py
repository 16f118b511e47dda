"""Capture times and orientations as cameras and other writers put them into EXIF."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from PIL import Image

from service.pipeline.images import exif

DAY = datetime(2026, 5, 4, 6, 7, 8)


def payload(
    fields: dict[int, object], own: dict[int, object] | None = None, gps: dict[int, object] | None = None
) -> bytes:
    """Pillow's EXIF: of the picture, of EXIF's directory, of the GPS."""
    written = Image.Exif()
    written.update(fields)
    for directory, values in ((0x8769, own), (0x8825, gps)):
        if values:
            written.get_ifd(directory).update(values)
    return written.tobytes()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026:05:04 06:07:08", DAY),
        ("2026-05-04 06:07:08", DAY),
        ("2026/05/04 06:07:08", DAY),
        ("2026:05:04T06:07:08", DAY),
        ("2026:05:04 06:07", DAY.replace(second=0)),
        ("2026:05:04 06:07:08\0\0", DAY),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2026:13:04 06:07:08", None),
        ("", None),
    ],
)
def test_texts_of_times(text: str, moment: datetime | None) -> None:
    assert exif.capture_time(payload({0x0132: text})) == moment


@pytest.mark.parametrize(
    ("fraction", "offset", "moment"),
    [
        ("5", "", DAY.replace(microsecond=500_000)),
        ("007", "", DAY.replace(microsecond=7000)),
        ("123456789", "", DAY.replace(microsecond=123_456)),
        ("12   ", "-09:30", DAY.replace(microsecond=120_000, tzinfo=timezone(-timedelta(hours=9, minutes=30)))),
        ("x", "Z", DAY.replace(tzinfo=UTC)),
        ("", "   :  ", DAY),
        ("", "+99:00", DAY),
    ],
)
def test_fractions_and_offsets(fraction: str, offset: str, moment: datetime) -> None:
    own: dict[int, object] = {0x9003: "2026:05:04 06:07:08", 0x9291: fraction, 0x9011: offset}
    assert exif.capture_time(payload({}, own)) == moment


def test_the_first_time_that_is_one_counts_with_its_own_fraction_and_offset() -> None:
    own: dict[int, object] = {
        0x9003: "0000:00:00 00:00:00",
        0x9004: "2026:05:04 06:07:08",
        0x9292: "25",
        0x9012: "+01:00",
    }
    later: dict[int, object] = {0x0132: "2027:01:01 00:00:00"}
    zone = timezone(timedelta(hours=1))
    assert exif.capture_time(payload(later, own)) == DAY.replace(microsecond=250_000, tzinfo=zone)
    only: dict[int, object] = {0x9290: "75", 0x9010: "+01:00", 0x9291: "25"}
    changed = datetime(2027, 1, 1, 0, 0, 0, 750_000, tzinfo=zone)
    assert exif.capture_time(payload(later, only)) == changed


def test_the_time_of_the_gps_is_the_last_resort() -> None:
    gps: dict[int, object] = {29: "2026:05:04", 7: (6.0, 7.0, 8.5)}
    assert exif.capture_time(payload({}, None, gps)) == DAY.replace(microsecond=500_000, tzinfo=UTC)
    assert exif.capture_time(payload({0x0132: "2026:05:04 09:00:00"}, None, gps)) == DAY.replace(
        hour=9, minute=0, second=0
    )
    assert exif.capture_time(payload({}, None, {29: "2026:05:04"})) is None


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_is_none(value: int) -> None:
    assert exif.orientation(payload({0x0112: value})) == 1
