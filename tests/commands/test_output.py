"""Tables: which columns are times, and how numbers look."""

import os
import time
from collections.abc import Iterator

import pytest

from service.commands.remote.output import print_fields, print_rows

NOON = "2026-07-01T12:00:00.123456Z"


@pytest.fixture(autouse=True)
def zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def test_only_times_of_the_service_are_converted_and_their_zone_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("created_at", "captured_at", "key", "next_run_at", "max_captured_at")
    print_rows([dict.fromkeys(columns, NOON)], columns, as_json=False, none="")
    here = "2026-07-01 14:00:00 CEST"
    assert capsys.readouterr().out.splitlines()[1].split("  ") == [here, NOON, NOON, here, NOON]
    print_fields({"name": NOON, "updated_at": NOON, "run_at": "off", "began_at": "2026-07-01T12:00"}, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["name", NOON],
        ["updated", "at", *here.split()],
        ["run", "at", "off"],
        ["began", "at", "2026-07-01T12:00"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234_567.5, "1,234,568"), (999.94, "999.9"), (-1_500.2, "-1,500"), (0.12345, "0.1235"), (1e9, "1,000,000,000")],
)
def test_numbers_of_a_million_have_all_their_digits(
    value: float, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_fields({"x": value}, as_json=False)
    assert capsys.readouterr().out.split() == ["x", text]
