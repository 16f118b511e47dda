"""The API process stays small, whatever the requests."""

import time
from pathlib import Path
from typing import Any

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import run_service
from tests.support.processes.worker_process import resident_mebibytes
from tests.support.servers.s3_server import ANY_STORE

API_LIMIT_MIB = 150
SETTLE_TIMEOUT_S = 30


def test_the_api_stays_under_its_limit(tmp_path: Path) -> None:
    upload = bytes(24 * 1024 * 1024)
    with run_service(ANY_STORE, tmp_path) as service, service.client("alice") as alice:
        dataset: dict[str, Any] = api.make_dataset(
            alice, {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(40)}
        )
        alice.put(f"/api/datasets/{dataset['id']}/objects/large.bin", content=upload).raise_for_status()
        status = api.render(alice, dataset, scale=8)
        for _ in range(40):
            alice.get("/api/experiments", params={"limit": 500}).raise_for_status()
            alice.get(status["video_url"]).raise_for_status()
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while resident_mebibytes(service.api_pid) >= API_LIMIT_MIB and time.monotonic() < deadline:
            time.sleep(1)
        assert resident_mebibytes(service.api_pid) < API_LIMIT_MIB
