"""The API process stays small, whatever the requests."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support.data.archives import END, member
from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService, run_service
from tests.support.processes.worker_process import peak_mebibytes, reset_peak, resident_mebibytes
from tests.support.servers.s3_server import ANY_STORE

# Some 125 MiB over a folder, and 150 on S3, whose libraries are the difference.
API_LIMIT_MIB, MIB = 160, 2**20
SETTLE_TIMEOUT_S = 30


def test_the_api_stays_under_its_limit(tmp_path: Path) -> None:
    upload = bytes(24 * 1024 * 1024)
    with run_service(ANY_STORE, tmp_path) as service, service.client("alice") as alice:
        dataset: dict[str, Any] = api.make_dataset(
            alice, {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(40)}
        )
        alice.put(f"/api/datasets/{dataset['id']}/objects/large.bin", content=upload).raise_for_status()
        _send_archive(service, alice, dataset["id"])
        status = api.render(alice, dataset, scale=8)
        for _ in range(40):
            alice.get("/api/experiments", params={"limit": 500}).raise_for_status()
            alice.get(status["video_url"]).raise_for_status()
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while resident_mebibytes(service.api_pid) >= API_LIMIT_MIB and time.monotonic() < deadline:
            time.sleep(1)
        assert resident_mebibytes(service.api_pid) < API_LIMIT_MIB


def _send_archive(service: RunningService, client: httpx.Client, dataset: str) -> None:
    """An archive of files that are written eight at a time, and of one that is longer than the others together: at no
    time there is much of it in memory."""

    def body() -> Iterator[bytes]:
        for number in range(40):
            yield member(f"{number}.bin", bytes(MIB))
        large = member("large.bin", bytes(56 * MIB))
        for start in range(0, len(large), MIB):
            yield large[start : start + MIB]
        yield END

    before = resident_mebibytes(service.api_pid)
    reset_peak(service.api_pid)
    answer = client.post(f"/api/datasets/{dataset}/objects", content=body(), timeout=300).raise_for_status()
    assert [found.get("size") for found in answer.json()] == [MIB] * 40 + [56 * MIB]
    assert peak_mebibytes(service.api_pid) - before < 32
