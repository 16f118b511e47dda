"""The scripts of the Studio use the API as our OpenAPI document describes it: TypeScript checks their JSDoc types."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from service.routers.studio import FOLDER
from tests.routers.openapi.api_types import TYPES, api_types

PROJECT = Path(__file__).parent / "tsconfig.json"


def test_the_types_are_those_of_the_document() -> None:
    assert TYPES.read_text() == api_types(), "run python -m tests.routers.openapi.api_types"


def test_the_scripts_of_the_studio_have_no_type_error() -> None:
    assert check(PROJECT) == ""


def test_a_field_that_the_api_does_not_have_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "wrong.js"
    script.write_text("/** @param {Api.Frame} frame */\nexport const wrong = (frame) => frame.colour;\n")
    project = json.loads(PROJECT.read_text()) | {"include": [str(TYPES), str(script)]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(project))
    assert "Property 'colour' does not exist" in check(tmp_path / "tsconfig.json")


def test_no_script_leaves_the_check() -> None:
    left = [path.name for path in FOLDER.rglob("*.js") if "@ts-" in path.read_text()]
    assert left == []


def check(project: Path) -> str:
    """What the compiler finds."""
    if (compiler := shutil.which("tsc")) is None:
        pytest.skip("tsc is not installed (Debian: apt-get install node-typescript)")
    done = subprocess.run([compiler, "-p", str(project)], capture_output=True, text=True)
    return done.stdout + done.stderr
