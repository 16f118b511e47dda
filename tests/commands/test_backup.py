"""A backup that is made while the service works answers, restored on an empty machine, as the service did."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from service.store.backup.archive import Archive
from tests.support.data.footage import frame_jpeg
from tests.support.processes.api import make_dataset, render, wait_until_ended
from tests.support.processes.up import running_up

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(40)}


def reelmill(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REELMILL_", "MINIO_"))}
    command = [sys.executable, "-m", "service", *words]
    return subprocess.run(command, env=environment | {"REELMILL_HOME": str(home)}, capture_output=True, text=True)


def answers(client: httpx.Client, job: str, dataset: dict[str, Any]) -> dict[str, bytes]:
    """The bytes of all that can be read of a finished render and its dataset."""
    of_dataset, of_job = f"/api/datasets/{dataset['id']}", f"/api/videos/{job}"
    paths = [
        "/api/experiments",
        f"/api/experiments/{dataset['experiment_id']}",
        f"/api/experiments/{dataset['experiment_id']}/datasets",
        f"/api/videos?experiment_id={dataset['experiment_id']}",
        *(of_dataset + path for path in ("", "/frames", "/objects?details=true")),
        *(
            of_job + path
            for path in ("", "/video", "/poster", "/receipt", "/keogram.png", "/preview.jpg", "/preview.vtt")
        ),
    ]
    return {path: client.get(path).raise_for_status().content for path in paths}


@contextmanager
def uploading(client: httpx.Client, dataset: str) -> Iterator[list[str]]:
    """Upload new frames one after the other until the block ends; yields their names."""
    names: list[str] = []
    ended = threading.Event()

    def upload() -> None:
        while not ended.is_set():
            name = f"late{len(names):04d}.jpg"
            client.put(f"/api/datasets/{dataset}/objects/{name}", content=FRAMES["f001.jpg"]).raise_for_status()
            names.append(name)

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        yield names
    finally:
        ended.set()
        thread.join()


def test_restored_on_an_empty_machine_it_answers_as_before(tmp_path: Path) -> None:
    archive, home = tmp_path / "backup.tar", tmp_path / "new" / "home"
    with running_up(tmp_path) as up:
        quiet, busy = make_dataset(up.client, FRAMES), make_dataset(up.client, FRAMES)
        done = render(up.client, quiet, outputs=["keogram", "preview_strip"])["job_id"]
        slot = up.find("slot")
        os.kill(slot, signal.SIGSTOP)
        body = {"experiment_id": busy["experiment_id"], "decimation_factor": 1, "fps": 10}
        job = up.client.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"]
        up.wait(lambda: up.client.get(f"/api/videos/{job}"), lambda status: status["status"] == "running")
        before = answers(up.client, done, quiet)
        with uploading(up.client, busy["id"]) as late:
            made = reelmill(up.home, "backup", str(archive))
        assert (made.returncode, made.stderr) == (0, ""), made.stdout
        assert late and answers(up.client, done, quiet) == before
        os.kill(slot, signal.SIGCONT)
        video = up.client.get(f"/api/videos/{wait_until_ended(up.client, job)['job_id']}/video").content
    assert b"\trunning\t" in read_table(archive, "tasks")
    restored = reelmill(home, "restore", str(archive))
    assert (restored.returncode, restored.stderr) == (0, ""), restored.stdout
    with running_up(tmp_path / "new") as up:
        assert answers(up.client, done, quiet) == before
        assert wait_until_ended(up.client, job)["status"] == "succeeded", "work in flight goes on"
        assert up.client.get(f"/api/videos/{job}/video").content == video
    assert reelmill(home, "fsck").returncode == 0


def read_table(path: Path, name: str) -> bytes:
    archive = Archive(path)
    try:
        return b"".join(archive.read_part(span) for span in archive.manifest.tables[name].parts)
    finally:
        archive.close()
