"""Only the documented variables are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import config
from service.errors import StartupError
from tests.documentation.settings_table import settings_classes, variables
from tests.support.processes.clean_environment import clean_environment


def test_a_field_is_not_read_by_its_own_name() -> None:
    fields = {name.upper() for settings in settings_classes() for name in settings.model_fields}
    with clean_environment():
        expected = config.load()
    with clean_environment(**dict.fromkeys(fields - {*variables(), "HOME"}, "7")):
        assert config.load() == expected


@pytest.mark.parametrize("data_home", [None, "/srv/data"])
def test_the_state_is_kept_in_a_folder_of_its_own(data_home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/lab")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if data_home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", data_home)
    with clean_environment():
        assert config.load().process.home == Path(data_home or "/home/lab/.local/share") / "reelmill"


def test_a_variable_that_was_removed_is_named_at_the_start(log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    with clean_environment(REELMILL_S3_POOL="8", REELMILL_DRAIN="5"):
        config.warn_of_outdated_variables()
    warnings = [(line["level"], line["variable"], line.get("instead")) for line in log_lines()]
    assert warnings == [
        ("warning", "REELMILL_S3_POOL", None),
        ("warning", "REELMILL_DRAIN", "REELMILL_SHUTDOWN_TIMEOUT"),
    ]


def test_what_was_removed_or_renamed_is_no_setting() -> None:
    assert not {*config.REMOVED, *config.RENAMED} & set(variables())
    assert set(config.RENAMED.values()) <= set(variables())


def test_a_renamed_variable_is_still_read_and_the_new_name_wins() -> None:
    with clean_environment(REELMILL_DRAIN="5"):
        assert config.load().worker.drain_s == 5
    with clean_environment(REELMILL_DRAIN="5", REELMILL_SHUTDOWN_TIMEOUT="7"):
        assert config.load().worker.drain_s == 7
    with clean_environment(REELMILL_SHUTDOWN_TIMEOUT="soon"), pytest.raises(StartupError, match="SHUTDOWN_TIMEOUT"):
        config.load()


def test_the_former_list_of_source_buckets_is_still_read() -> None:
    with clean_environment(MINIO_SOURCE_BUCKETS="scope, camera", MINIO_SOURCES=""):
        assert [rule.bucket for rule in config.load().objects.source_rules.rules] == ["scope", "camera"]
    with clean_environment(MINIO_SOURCE_BUCKETS="scope", MINIO_SOURCES="camera=alice"):
        assert [rule.bucket for rule in config.load().objects.source_rules.rules] == ["camera"]


@pytest.mark.parametrize("variable", ["MINIO_SOURCES", "MINIO_SOURCE_BUCKETS"])
@pytest.mark.parametrize("value", ["lab/secret-word/", "reelmill/secret-word=alice", "{secret-word"])
def test_sources_that_cannot_work_are_named_but_not_shown(variable: str, value: str) -> None:
    with clean_environment(**{variable: value}), pytest.raises(StartupError, match=r"^MINIO_SOURCES: ") as refused:
        config.load()
    assert refused.value.exit_code == 78 and "secret-word" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_there_are_few_settings() -> None:
    """What no operator would change is a constant."""
    assert len(variables()) <= 50


EXTREMES = (
    "9" * 5000,
    "1e400",
    "nan",
    "-1",
    "\u0663",
    "a\u2028b",
    "http://[",
    f"http://a:{'9' * 5000}",
    "\udcff",
    "a" * 70_000,
)


@pytest.mark.parametrize("variable", sorted(variables()))
def test_extremes_are_accepted_or_refused_in_one_line(variable: str) -> None:
    for value in EXTREMES:
        with clean_environment(**{variable: value}):
            try:
                settings = config.load()
            except StartupError as refused:
                assert len(str(refused).splitlines()) == 1 and len(str(refused)) < 300, value[:20]
                assert variable in str(refused) and (len(value) < 20 or value[:20] not in str(refused))
            else:
                numbers = [n for area in vars_of(settings) for n in area.values() if isinstance(n, int | float)]
                assert all(abs(number) <= 2**60 for number in numbers), value[:20]


def vars_of(settings: config.Settings) -> list[dict[str, Any]]:
    return [getattr(settings, name).model_dump() for name in config.Settings.__dataclass_fields__]
