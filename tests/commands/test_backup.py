"""A backup that is made while the service works answers, restored on an empty machine, as the service did."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.plan.render_plan import ObjectRef
from service.store.backup.archive import Archive
from service.store.objects.files import FileObjectStore
from tests.support.data.backups import fill
from tests.support.data.footage import frame_jpeg
from tests.support.processes.api import make_dataset, render, wait_until_ended
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.command import run_command
from tests.support.processes.up import running_up
from tests.support.servers.databases import empty_database, fresh_database

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(24)}


def reelmill(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    with clean_environment(REELMILL_HOME=str(home), **settings):
        return run_command(*words)


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


def read_table(path: Path, name: str) -> bytes:
    archive = Archive(path)
    try:
        return b"".join(archive.read_part(span) for span in archive.manifest.tables[name].parts)
    finally:
        archive.close()


@pytest.mark.anyio
async def test_exit_codes_and_what_is_told(postgres_url: str, tmp_path: Path) -> None:
    archive, home, new = tmp_path / "backup.tar", tmp_path / "home", tmp_path / "new"
    objects = FileObjectStore(home / "objects", "reelmill")
    await objects.check()
    async with fresh_database(postgres_url) as database:
        render = await fill(database, objects)
        own = {"DATABASE_URL": database.url}
        made = reelmill(home, "backup", str(archive), **own)
        assert (made.returncode, made.stderr) == (0, "")
        assert "28 objects" in made.stdout and "keep it where nobody else can read it" in made.stdout
        again = reelmill(home, "backup", str(archive), **own)
        assert (again.returncode, again.stderr) == (1, f"reelmill: {archive} exists already: choose another name\n")
        await objects.delete(ObjectRef("reelmill", f"renders/{render}/poster.jpg"))
        partial = reelmill(home, "backup", str(tmp_path / "partial.tar"), **own)
        assert partial.returncode == 65
        assert f"1 objects are not in it\n  renders/{render}/poster.jpg: it is not in the bucket" in partial.stdout
        in_use = reelmill(new, "restore", str(archive), **own)
        assert in_use.returncode == 1 and "the database has Reelmill's table" in in_use.stderr
    refused = reelmill(home, "backup", str(tmp_path / "none.tar"), DATABASE_URL="postgresql://u@127.0.0.1:1/d")
    assert refused.returncode == 78 and not (tmp_path / "none.tar").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"backup.tar", "partial.tar", "home", "new"}
    await check_restore(postgres_url, archive, tmp_path / "restored")


async def check_restore(postgres_url: str, archive: Path, home: Path) -> None:
    data = archive.read_bytes()
    broken = archive.with_name("broken.tar")
    broken.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    async with empty_database(postgres_url) as url:
        damaged = reelmill(home, "restore", str(broken), DATABASE_URL=url)
        assert damaged.returncode == 1 and damaged.stderr.count("\n") == 1 and "is damaged" in damaged.stderr
        assert not home.exists()
        empty = reelmill(home, "backup", str(archive.with_name("empty.tar")), DATABASE_URL=url)
        assert empty.returncode == 1 and "the database has not the tables of this version" in empty.stderr
        restored = reelmill(home, "restore", str(archive), DATABASE_URL=url)
        assert (restored.returncode, restored.stderr) == (0, "") and "28 objects" in restored.stdout
        assert reelmill(home, "fsck", DATABASE_URL=url).returncode == 0
