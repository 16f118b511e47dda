"""The examples of docs/client.md, as a user would type them: against a real service, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.data import media
from tests.support.processes.running_service import SCOPES, RunningService
from tests.support.source_code import ROOT

PAGE = (ROOT / "docs/client.md").read_text()


def blocks(language: str) -> str:
    """All examples of a language, one after the other."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve frames of 16 bits in `frames`."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "frames").mkdir()
    for number in range(12):
        (folder / "frames" / f"f{number:03d}.png").write_bytes(media.png16(media.numbered_picture(number)))
    return folder


def environment(service: RunningService, home: Path) -> dict[str, str]:
    token = service.token("reader", (*SCOPES, "query:run"))
    own = {"REELMILL_URL": service.url, "REELMILL_TOKEN": token, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    return {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"} | own | {"LANG": os.environ.get("LANG", "C.UTF-8")}


def test_the_python_of_the_page_then_its_commands(service: RunningService, folder: Path) -> None:
    own = environment(service, folder)
    script = subprocess.run(
        [sys.executable, "-c", blocks("python")], cwd=folder, env=own, capture_output=True, text=True
    )
    assert script.returncode == 0, script.stderr
    said = script.stdout
    assert "12 sent, 0 were there, 0 left out" in said and "uint16" in said and "#/fps" in said, said
    assert said.rstrip().endswith("12") and (folder / "run7.mp4").stat().st_size > 1000
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks("sh")], cwd=folder, env=own, capture_output=True, text=True
    )
    assert shell.returncode == 0, shell.stderr
    assert (folder / "first.png").read_bytes().startswith(b"\x89PNG") and (folder / "three.mp4").exists()
    assert '"summary"' in shell.stdout and "f000.png" in shell.stdout
