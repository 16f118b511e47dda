"""Importing the client loads nothing that is heavy: looked at in a fresh process."""

import subprocess
import sys

from tests.support.source_code import ROOT

# Libraries that take long, and rooms of the service that the client has nothing to do with.
HEAVY = {
    *(
        "httpx",
        "pydantic",
        "numpy",
        "av",
        "fastapi",
        "sqlalchemy",
        "rich",
        "typer",
        "structlog",
        "PIL",
        "torch",
        "jose",
    ),
    *("service.config", "service.store", "service.routers", "service.pipeline", "service.worker", "service.identity"),
}
SCRIPT = "import reelmill, sys; print(*sys.modules)"


def test_only_the_client_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not HEAVY & loaded
    ours = {name for name in loaded if name.startswith("service.") and not name.startswith("service.client")}
    plain = {"service.errors", "service.plan", "service.plan.formats", "service.plan.tone"}
    assert ours <= plain | {name for name in ours if name.startswith("service.plan.names")}, ours
