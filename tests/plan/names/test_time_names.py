"""Times in names: those of cameras, phones and recorders; counters stay counters."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plan.names.natural_sort import natural_key, trailing_number
from service.plan.names.time_names import NamedTimes, named_time

NOON = datetime(2024, 6, 1, 13, 45, 10, tzinfo=UTC)
UNIX = 1_717_249_510  # NOON
LAYOUTS = {
    "image-%Y%m%d%H%M%S.jpg": "allsky, indi-allsky",
    "%Y%m%d/image-%Y%m%d%H%M%S.jpg": "allsky, a folder a day",
    "img_%Y-%m-%d_%H-%M-%S.jpg": "Raspberry Pi",
    "01-%Y%m%d%H%M%S-00.jpg": "motion",
    "IMG_%Y%m%d_%H%M%S.jpg": "phones",
    "WIN_%Y%m%d_%H_%M_%S_Pro.jpg": "Windows",
    "%Y-%m-%d/%H/%M.%S.jpg": "Frigate's folders",
    "%Y%m%d/%H%M%S.jpg": "a folder a day",
    "%Y%m%dT%H%M%SZ.png": "ISO 8601",
    "%Y-%m-%dT%H:%M:%S+0000.png": "ISO 8601 with an offset",
    "%Y%jT%H%M%S.tif": "day of the year",
    "cam_%y%m%d_%H%M%S.jpg": "years of two digits",
}


def judge(names: Sequence[str]) -> bool:
    """Whether the times in these names, in natural order, are taken for times: what the scan's SQL counts."""
    ordered = sorted(names, key=lambda name: (natural_key(name), name))
    times = [named_time(name) for name in ordered]
    moments = [found.moment for found in times if found]
    numbers = [number for name in ordered if (number := trailing_number(name)) is not None]
    steps, pauses = Counter(b - a for a, b in pairwise(numbers)), Counter(b - a for a, b in pairwise(moments))
    most = max(steps.values(), default=0)
    usual = min((step for step, count in steps.items() if count == most), default=None)
    kinds = {found.kind for found in times if found}
    counted = NamedTimes(
        len(ordered), len(moments), len(set(moments)), "date" in kinds, "unix" in kinds, usual, most,
        max(pauses.values(), default=0),
    )  # fmt: skip
    return counted.are_times


@pytest.mark.parametrize("layout", LAYOUTS, ids=LAYOUTS.get)
def test_a_time_is_read_and_a_sequence_of_them_taken_for_one(layout: str) -> None:
    found = named_time(NOON.strftime(layout))
    assert found is not None and found.moment == NOON
    assert judge([(NOON + timedelta(minutes=minute)).strftime(layout) for minute in range(130)])


@pytest.mark.parametrize(
    ("name", "fraction"),
    [
        (f"{UNIX}.jpg", 0),
        (f"frame_{UNIX}123.png", 123_000),
        (f"{UNIX}123456.png", 123_456),
        (f"{UNIX}123456789.png", 123_456),
        (f"{UNIX}.123456-abc12.jpg", 123_456),
        (f"front-{UNIX}.5-x.jpg", 500_000),
        ("IMG_20240601_134510_123.jpg", 123_000),
        ("PXL_20240601_134510123.jpg", 123_000),
        ("2024-06-01T13.45.10.123456.jpg", 123_456),
    ],
)
def test_fractions_and_unix_times(name: str, fraction: int) -> None:
    found = named_time(name)
    assert found is not None and found.moment == NOON + timedelta(microseconds=fraction)


@pytest.mark.parametrize(
    "name",
    ["GOPR0001.jpg", "DSC_0042.jpg", "frame_1000000001.jpg", "20240631.jpg", "20241301120000.jpg", "20240601134560.jpg",
     "20240601/image_0001.jpg", "2023366.jpg", "12345678901234567890.jpg", "x.jpg", "20240601_frame_0001.jpg"],
)  # fmt: skip
def test_names_without_a_time(name: str) -> None:
    assert named_time(name) is None


SEQUENCES: dict[str, tuple[list[str], bool]] = {
    "serial numbers of eight digits": ([f"{20_240_601 + n}.jpg" for n in range(130)], False),
    "serial numbers that are dates so far": ([f"{20_240_601 + n}.jpg" for n in range(30)], False),
    "a picture a day": ([f"{NOON + timedelta(days=n):%Y%m%d}.jpg" for n in range(90)], True),
    "a picture a day, with dashes": ([f"plot_{NOON + timedelta(days=n):%Y-%m-%d}.jpg" for n in range(90)], True),
    "counters of ten digits": ([f"f{1_300_000_000 + n}.jpg" for n in range(50)], False),
    "Unix seconds, a minute apart": ([f"{UNIX + 60 * n}.jpg" for n in range(50)], True),
    "Unix milliseconds with jitter": ([f"{UNIX * 1000 + 1000 * n + n % 7}.jpg" for n in range(50)], True),
    "counters of fourteen digits": ([f"{20_240_601_134_500 + n}.jpg" for n in range(130)], False),
    "the time a session began, and a counter": ([f"20240601_134510_{n:04d}.jpg" for n in range(50)], False),
    "a folder's date and a counter": ([f"20240601/{n:04d}.jpg" for n in range(50)], False),
    "one name without a time": (
        [*(f"{NOON + timedelta(minutes=n):%Y%m%d%H%M%S}.jpg" for n in range(9)), "x.jpg"],
        False,
    ),
    "several pictures a second": (
        [f"01-{NOON + timedelta(seconds=n // 5):%Y%m%d%H%M%S}-{n % 5:02d}.jpg" for n in range(50)],
        True,
    ),
    "an ordinary counter": ([f"IMG_{n:04d}.jpg" for n in range(50)], False),
    "a year and a counter": ([f"IMG_2024-{n:03d}.jpg" for n in range(1, 90)], False),
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_sequences_are_judged_by_all_names(kind: str) -> None:
    names, are_times = SEQUENCES[kind]
    assert judge(names) == are_times


@given(
    st.datetimes(datetime(2005, 1, 1), datetime(2033, 1, 1)),
    st.sampled_from([1, 5, 60, 3600, 86_400]),
    st.integers(2, 60),
    st.sampled_from(
        [layout for layout, what in LAYOUTS.items() if what not in ("day of the year", "years of two digits")]
    ),
)
def test_any_steady_camera_has_times(start: datetime, seconds: int, count: int, layout: str) -> None:
    moments = [start.replace(microsecond=0, tzinfo=UTC) + timedelta(seconds=seconds * n) for n in range(count)]
    names = [moment.strftime(layout) for moment in moments]
    assert [found.moment for name in names if (found := named_time(name))] == moments
    assert layout == "%Y%m%d/%H%M%S.jpg" or judge(names)


@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from(["{:d}", "img_{:04d}", "a/{:08d}", "DSC{:05d}-x"]))
def test_no_counter_is_a_time(first: int, step: int, layout: str) -> None:
    assert not judge([layout.format(first + step * n) + ".jpg" for n in range(40)])


@given(st.text(max_size=40))
def test_any_name_is_read(name: str) -> None:
    found = named_time(name)
    assert found is None or found.moment.tzinfo is not None
