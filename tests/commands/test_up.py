"""`reelmill up` shows its admin token on a terminal, and nowhere that is kept."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service import config
from service.commands.up import token_or_command

COMMAND = "reelmill token --sub operator --scope admin --ttl 1d"


def test_a_terminal_gets_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_HOME", str(tmp_path))
    settings = config.load()
    other_end, terminal = pty.openpty()
    with os.fdopen(other_end, "rb"), os.fdopen(terminal, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert token_or_command(settings).count(".") == 2
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert token_or_command(settings) == COMMAND


def test_a_log_file_gets_no_token(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = os.environ | {"REELMILL_HOME": str(tmp_path / "home"), "PORT": "0", "REELMILL_SLOTS": "1"}
    with log.open("wb") as file:
        running = subprocess.Popen([sys.executable, "-m", "service", "up"], stdout=file, stderr=file, env=environment)
        deadline = time.monotonic() + 60
        while b"token   " not in log.read_bytes() and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    text = log.read_text()
    assert f"token   {COMMAND}" in text and "eyJ" not in text
    secret = (tmp_path / "home" / "jwt-secret").read_text().strip()
    assert secret not in text
