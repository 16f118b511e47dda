"""The secret of a service on one machine is created once, whichever process is first."""

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from service.errors import StartupError
from service.identity.local_secret import FILE_NAME, local_secret


def _read(home: Path) -> str:
    return local_secret(home).get_secret_value()


def test_made_once_and_only_for_us(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    first = _read(home)
    assert _read(home) == first and len(first) >= 32
    assert stat.S_IMODE((home / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [FILE_NAME]


def test_racing_processes_agree(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        assert len(set(pool.map(_read, [tmp_path] * 32))) == 1


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("")
    with pytest.raises(StartupError, match="REELMILL_HOME"):
        local_secret(tmp_path)


def test_a_home_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="REELMILL_HOME"):
        local_secret(tmp_path / "file")
