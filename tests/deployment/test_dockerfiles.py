"""The Dockerfiles, parsed and linted, without a container engine: this does not prove that they build."""

import re

import pytest

from tests.architecture.contracts import listed_modules
from tests.deployment.files import DOCKERFILES, INSTRUCTIONS, dockerfile, last_stage, run_linter, values
from tests.documentation.command_table import group
from tests.documentation.settings_table import variables
from tests.support.source_code import ROOT

pytestmark = pytest.mark.parametrize("name", DOCKERFILES)
# Variables read by something other than our settings.
FOREIGN_VARIABLES = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "TRITON_CACHE_DIR"} | {
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
}


def environment(name: str) -> dict[str, str]:
    text = " ".join(values(name, "ENV"))
    return dict(re.findall(r"(\w+)=(\S+)", text))


def test_every_instruction_is_one(name: str) -> None:
    structure = dockerfile(name).structure
    assert {step["instruction"] for step in structure} <= INSTRUCTIONS
    assert [step["instruction"] for step in structure].count("FROM") == 2


def test_hadolint_has_nothing_to_say(name: str) -> None:
    done = run_linter("hadolint", "--failure-threshold", "style", name)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_it(name: str) -> None:
    """The linter finds a root user and an unpinned image."""
    done = run_linter("hadolint", "-", text="FROM python:latest\nUSER root\n")
    assert done.returncode == 1
    assert "DL3007" in done.stdout and "DL3002" in done.stdout


def test_it_does_not_run_as_root(name: str) -> None:
    assert values(name, "USER") == ["10001:10001"]
    steps = [step["instruction"] for step in last_stage(name)]
    assert steps.index("USER") > max(index for index, step in enumerate(steps) if step in ("RUN", "COPY"))


def test_it_has_a_health_check(name: str) -> None:
    (check,) = values(name, "HEALTHCHECK")
    assert "--start-period=" in check and "CMD [" in check


def test_it_runs_a_command_that_exists(name: str) -> None:
    assert values(name, "ENTRYPOINT") == ['["reelmill"]']
    (command,) = values(name, "CMD")
    assert command.strip('[]"') in group.commands


def test_its_variables_are_known(name: str) -> None:
    assert set(environment(name)) - FOREIGN_VARIABLES <= set(variables())
    assert environment(name)["HOST"] == "0.0.0.0"


def test_no_secret_is_baked_in(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"(?i)(password|secret|token|access_key|api_key)\s*[=:]", text)
    assert not [step for step in dockerfile(name).structure if step["instruction"] == "ADD"]


def test_only_what_is_needed_reaches_the_builder(name: str) -> None:
    """.dockerignore admits exactly what the first stage copies: no .git, no .env, no .venv."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for step in dockerfile(name).structure
        if step["instruction"] == "COPY" and not step["value"].startswith("--from")
        for word in step["value"].split()[:-1]
    }
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert copied == kept
    assert listed_modules("packages") - kept == {"benchmarks"}


def test_the_gpu_image_asks_for_the_video_driver(name: str) -> None:
    capabilities = environment(name).get("NVIDIA_DRIVER_CAPABILITIES", "").split(",")
    assert ("video" in capabilities) == name.endswith("cuda")
    assert ("requirements-cuda.txt" in (ROOT / name).read_text()) == name.endswith("cuda")
