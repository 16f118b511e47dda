"""schemathesis with all its checks over our OpenAPI 3.0.3 document, as two users and an operator.

`REELMILL_FUZZ_SECONDS` gives it longer (`make fuzz`), `REELMILL_FUZZ_SEED` another seed.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService, run_service
from tests.support.servers.s3_server import ANY_STORE

SECONDS = int(os.environ.get("REELMILL_FUZZ_SECONDS", "24"))
SEED = os.environ.get("REELMILL_FUZZ_SEED", "1")
CONFIG = Path(__file__).with_name("schemathesis.toml")
USERS = {
    "alice": (*SCOPES, "query:run", "agent:ask"),
    "bob": (*SCOPES, "query:run", "agent:ask"),
    "operator": ("ops:read", "admin"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One of its own: the operator among the users may cordon or drain its worker."""
    with run_service(ANY_STORE, tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def environment(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of the configuration: tokens, and a render of alice's."""
    with service.client("alice") as alice:
        dataset = api.make_dataset(alice, {f"f{number}.jpg": frame_jpeg(number) for number in range(4)})
        job = api.render(alice, dataset)["job_id"]
    users = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {service.token(name, scopes)}"}]}
        for name, scopes in USERS.items()
    ]
    path = tmp_path_factory.mktemp("fuzz") / "users.json"
    path.write_text(json.dumps({"auth": users}))
    hooks = str(CONFIG.with_name("schemathesis_hooks.py"))
    return {"REELMILL_FUZZ_USERS": str(path), "REELMILL_FUZZ_JOB": job, "REELMILL_FUZZ_HOOKS": hooks}


def test_the_service_does_what_its_document_says(
    service: RunningService, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", f"{service.url}/openapi.json", "--checks", "all", "--max-time", str(SECONDS)]
    command += ["--seed", SEED, "--no-color"]
    done = subprocess.run(
        command, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 120
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    selected, operations = re.search(r"Selected: (\d+)/(\d+)", done.stdout).groups()  # type: ignore[union-attr]
    assert selected == operations and int(operations) > 20
    checks = service.client("alice", "ops:read").get("/health").json()["checks"]
    checks.pop("workers")  # the operator among the users may have cordoned or drained the worker
    assert {check["status"] for check in checks.values()} <= {"ok", "absent"}, json.dumps(checks)
