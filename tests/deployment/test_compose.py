"""docker-compose.yml, parsed and linted, without a container engine: this does not prove that it starts."""

import re
from typing import Any

import pytest

from tests.deployment.files import VARIABLE, compose, compose_text, example_environment, run_linter, services
from tests.documentation.command_table import group
from tests.documentation.settings_table import variables

# Variables that only the compose file reads.
COMPOSE_VARIABLES = {"POSTGRES_PASSWORD", "POSTGRES_IMAGE", "MINIO_IMAGE", "VERSITYGW_IMAGE", "OLLAMA_IMAGE"} | {
    "PUBLISH_HOST",
    "PUBLISH_PORT",
}
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN")
REQUIRED = re.compile(r"\$\{\w+:\?[^}]+\}")
OPTIONAL_EMPTY = re.compile(r"\$\{\w+:-\}")


def test_the_services_are_all_there() -> None:
    assert set(services(ours=True)) == {"api", "worker", "worker-cuda"}
    assert set(services(ours=False)) == {"postgres", "minio", "versitygw", "ollama"}
    assert {name: service["profiles"] for name, service in services().items() if "profiles" in service} == {
        "worker-cuda": ["gpu"],
        "versitygw": ["versitygw"],
    }


def test_compose_lint_finds_nothing_of_weight() -> None:
    done = run_linter("compose-lint", "check", "--fail-on", "high", "docker-compose.yml")
    assert done.returncode == 0, done.stdout


def test_compose_lint_would_find_it(tmp_path: Any) -> None:
    bad = tmp_path / "docker-compose.yml"
    bad.write_text("services:\n  x:\n    image: a:1\n    privileged: true\n")
    done = run_linter("compose-lint", "check", "--fail-on", "high", str(bad))
    assert done.returncode == 1


@pytest.mark.parametrize("name", sorted(services()))
def test_each_service_has_a_health_check(name: str) -> None:
    check = services()[name]["healthcheck"]
    assert check["test"][0] == "CMD" and len(check["test"]) > 1
    assert check.keys() >= {"interval", "timeout", "start_period", "retries"}


@pytest.mark.parametrize("name", sorted(services(ours=True)))
def test_ours_are_locked_up(name: str) -> None:
    service = services()[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["command"][0] in group.commands


@pytest.mark.parametrize("name", sorted(services(ours=False)))
def test_the_others_have_no_capability_and_a_pinned_image(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    match = VARIABLE.fullmatch(service["image"])
    assert match is not None and match[2] == ":-"
    assert re.search(r":[^:@]*\d[^:@]*(@sha256:[0-9a-f]{64})?$", match[3]), "the default names a version"
    assert ":latest" not in match[3]


def test_only_the_api_is_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"api": ["${PUBLISH_HOST:-127.0.0.1}:${PUBLISH_PORT:-5003}:5003"]}
    assert not [name for name, service in services().items() if "network_mode" in service]


def test_the_stores_have_no_way_out() -> None:
    assert compose()["networks"]["inside"] == {"internal": True}
    alone = {name for name, service in services().items() if service["networks"] == ["inside"]}
    assert alone == {"postgres", "minio", "versitygw", "worker", "worker-cuda"}


@pytest.mark.parametrize("name", sorted(services(ours=True)))
def test_our_variables_are_settings(name: str) -> None:
    given = set(services()[name]["environment"]) - {"NVIDIA_DRIVER_CAPABILITIES"}
    assert given <= set(variables())


def test_what_the_operator_may_set_is_known_and_shown() -> None:
    asked = {match[1] for match in VARIABLE.finditer(compose_text())}
    assert asked <= set(variables()) | COMPOSE_VARIABLES
    shown = set(example_environment())
    assert shown <= asked
    assert asked - shown <= {"OLLAMA_HOST"} | {name for name in COMPOSE_VARIABLES if name.endswith("_IMAGE")}


def test_no_secret_is_baked_in() -> None:
    """Secrets come from the environment, and a missing required one is reported by name."""
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert REQUIRED.fullmatch(str(value)) or OPTIONAL_EMPTY.fullmatch(str(value)), f"{name}: {variable}"
    assert REQUIRED.search(services()["api"]["environment"]["DATABASE_URL"])
    assert {name: value for name, value in example_environment().items() if SECRET.search(name) and value} == {}


def test_workers_hold_no_token_secret() -> None:
    for name in ("worker", "worker-cuda"):
        assert not [variable for variable in services()[name]["environment"] if variable.startswith("JWT_")]


def test_the_gpu_worker_gets_the_video_driver() -> None:
    service = services()["worker-cuda"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], "video" in device["capabilities"], "gpu" in device["capabilities"]) == (
        "nvidia",
        True,
        True,
    )
    assert "video" in service["environment"]["NVIDIA_DRIVER_CAPABILITIES"].split(",")


def test_volumes_and_networks_are_declared() -> None:
    used = {volume.split(":")[0] for service in services().values() for volume in service.get("volumes", [])}
    assert used == set(compose()["volumes"])
    assert {name for service in services().values() for name in service["networks"]} == set(compose()["networks"])
