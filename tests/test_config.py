"""The environment is read by the documented names and by no others."""

from pathlib import Path

import pytest

from service import config
from tests.documentation.settings_table import settings_classes, variables
from tests.support.clean_environment import clean_environment


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
