"""The examples of README.md, docs/client.md and docs/recipes.md, as a user would type them: against a real service, in order."""

import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.end_to_end.client.documents import blocks, environment
from tests.support.data import media
from tests.support.processes.running_service import RunningService
from tests.support.source_code import ROOT

PAGE, README, RECIPES = ((ROOT / name).read_text() for name in ("docs/client.md", "README.md", "docs/recipes.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve frames of 16 bits in `frames`."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "frames").mkdir()
    for number in range(12):
        (folder / "frames" / f"f{number:03d}.png").write_bytes(media.png16(media.numbered_picture(number)[..., 0]))
    return folder


def test_the_python_of_the_page_then_its_commands(service: RunningService, folder: Path) -> None:
    own = environment(service, folder)
    script = subprocess.run(
        [sys.executable, "-c", blocks(PAGE, "python")], cwd=folder, env=own, capture_output=True, text=True
    )
    assert script.returncode == 0, script.stderr
    said = script.stdout
    assert "12 sent, 0 were there, 0 left out" in said and "uint16" in said and "#/fps" in said, said
    assert said.rstrip().endswith("12") and (folder / "run7.mp4").stat().st_size > 1000
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks(PAGE, "sh")], cwd=folder, env=own, capture_output=True, text=True
    )
    assert shell.returncode == 0, shell.stderr
    assert (
        (folder / "first.png").read_bytes().startswith(b"\x89PNG")
        and (folder / "three.mp4").exists()
        and (folder / "both.mp4").exists()
    )
    assert '"summary"' in shell.stdout and "f000.png" in shell.stdout


def test_the_recipes(service: RunningService, folder: Path) -> None:
    """After the page of the client, whose dataset they use."""
    own = environment(service, folder)
    script = subprocess.run(
        [sys.executable, "-c", blocks(RECIPES, "python")], cwd=folder, env=own, capture_output=True, text=True
    )
    assert script.returncode == 0, script.stderr
    said = script.stdout
    assert "torch.Size([4," in said and "camera 1" in said and "accepted:" in said, said
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks(RECIPES, "sh")], cwd=folder, env=own, capture_output=True, text=True
    )
    assert shell.returncode == 0, shell.stderr
    assert "matches this receipt" in shell.stdout and (folder / "run 7.mp4").exists()


def test_the_notebook(service: RunningService, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(service, folder).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}}).execute()
    outputs = [str([each.get("data") for each in cell.outputs]) for cell in notebook.cells if cell.cell_type == "code"]
    assert "12" in outputs[0] and "array([" in outputs[1] and "image/png" in outputs[2], outputs
    assert "<video controls" in outputs[3] and "<td>ok</td>" in outputs[4]


def test_the_five_minutes_of_the_readme(service: RunningService, tmp_path: Path) -> None:
    """All but `make`: the service runs, at another address and in another home, and files are kept in a folder of ours."""
    text = blocks(README.partition("## Five minutes")[2], "sh|python").replace("make run\n", "")
    text = text.replace("http://127.0.0.1:5003", service.url).replace("/tmp/", f"{tmp_path}/")
    own = environment(service, tmp_path) | {"REELMILL_HOME": str(service.home)}
    script = text.replace("export PATH=$PWD/.venv/bin:$PATH\n", "")
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=own, capture_output=True, text=True
    )
    assert shell.returncode == 0, shell.stdout + shell.stderr
    said = shell.stdout
    assert (
        "239 frames" in said and "206 Partial Content" in said and "#/decimation_factor" in said and '"count"' in said
    )
    assert "matches this receipt" in said and "(540, 960, 3)" in said
    assert (tmp_path / "tour.mp4").stat().st_size > 10_000
