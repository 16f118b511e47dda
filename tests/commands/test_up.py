"""`reelmill up` shows its admin token on a terminal, and nowhere that is kept."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service import config
from service.commands.remote.catalogue import page_address
from service.commands.up import login_link, token_or_command
from service.identity.claims import LEEWAY_S
from service.identity.local_secret import local_secret
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier
from tests.support.patience import PATIENCE_S

COMMAND = "reelmill token --sub operator --scope admin --ttl 1d"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The output of this process is a terminal."""
    other_end, terminal = pty.openpty()
    with os.fdopen(other_end, "rb"), os.fdopen(terminal, "w") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        yield


def test_a_terminal_gets_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_HOME", str(tmp_path))
    settings = config.load()
    with terminal(monkeypatch):
        assert token_or_command(settings).count(".") == 2
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert token_or_command(settings) == COMMAND


@pytest.mark.anyio
async def test_a_terminal_gets_a_link_of_half_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_HOME", str(tmp_path))
    with terminal(monkeypatch):
        address, _, token = login_link(config.load(), "http://127.0.0.1:5003").partition("#token=")
    assert address == "http://127.0.0.1:5003/"
    identity = await TokenVerifier(IdentitySettings.model_construct(), local_secret(tmp_path)).verify(token)
    assert (identity.subject, identity.scopes) == ("operator", {"admin"})
    assert identity.expires_at - time.time() <= 12 * 3600 + LEEWAY_S
    monkeypatch.setenv("REELMILL_URL", "https://video.example/")
    with terminal(monkeypatch):
        assert login_link(config.load(), "http://127.0.0.1:5003").startswith("https://video.example/#token=eyJ")


def test_open_signs_in_only_where_the_service_is_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_HOME", str(tmp_path))
    with terminal(monkeypatch):
        assert page_address(config.load()).startswith("http://127.0.0.1:5003/#token=eyJ")
        monkeypatch.setenv("REELMILL_TOKEN", "mine")
        assert page_address(config.load()) == "http://127.0.0.1:5003/#token=mine"
        monkeypatch.setenv("REELMILL_URL", "https://video.example/")
        assert page_address(config.load()) == "https://video.example/"
        monkeypatch.delenv("REELMILL_TOKEN")
        assert page_address(config.load()) == "https://video.example/"


def test_tokens_of_an_issuer_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_JWKS_URL", "https://issuer.example/keys")
    with terminal(monkeypatch):
        assert token_or_command(config.load()) == "of the issuer that JWT_JWKS_URL names"
        assert login_link(config.load(), "http://127.0.0.1:5003") == "http://127.0.0.1:5003/"


def test_a_log_file_gets_no_token(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = os.environ | {"REELMILL_HOME": str(tmp_path / "home"), "PORT": "0", "REELMILL_SLOTS": "1"}
    with log.open("wb") as file:
        running = subprocess.Popen([sys.executable, "-m", "service", "up"], stdout=file, stderr=file, env=environment)
        deadline = time.monotonic() + PATIENCE_S
        while b"Studio  " not in log.read_bytes() and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    text = log.read_text()
    assert f"token   {COMMAND}\nStudio  http://127.0.0.1:" in text and "eyJ" not in text and "#token" not in text
    secret = (tmp_path / "home" / "jwt-secret").read_text().strip()
    assert secret not in text
