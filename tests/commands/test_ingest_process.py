"""`reelmill ingest` and `render` as a shell runs them, against a whole service."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands.test_exit_codes import run_command
from tests.support.data.media import jpeg, numbered_picture, tiff
from tests.support.patience import PATIENCE_S
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.running_service import RunningService

SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render")


def _run(service: RunningService, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    done = run_command(home, *words, REELMILL_URL=service.url, REELMILL_TOKEN=service.token("alice", SCOPES))
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _dataset(service: RunningService, experiment: str) -> dict[str, Any]:
    with service.client("alice") as client:
        row = client.get("/api/experiments", params={"q": experiment}).json()[0]
        return dict(client.get(f"/api/experiments/{row['id']}/datasets").json()[0])


def _image(service: RunningService, dataset: str, index: int) -> bytes:
    with service.client("alice") as client:
        return client.get(f"/api/datasets/{dataset}/frames/{index}/image").content


def test_what_cannot_be_taken_is_named_and_the_rest_goes_on(service: RunningService, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    (folder / "@eaDir").mkdir(parents=True)
    names = [b"f1.jpg", b"f2 #?%+.jpg", b"caf\xe9.jpg", b"C:\\f3.jpg", b"@eaDir/f1.jpg", b".hidden.jpg"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(jpeg(numbered_picture(1)))
    (folder / "notes.txt").write_text("text")
    (folder / "clip.3gp").write_bytes(b"x")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    done = _run(service, tmp_path, "ingest", str(folder), "--experiment", "names of all kinds")
    assert done.returncode == 65, done.stdout + done.stderr
    for line in (
        r"not uploaded: caf\xe9.jpg: its name cannot be stored: it is not in UTF-8",
        "not uploaded: C:\\f3.jpg: its name cannot be stored: control characters and backslashes are not allowed",
        "not uploaded: gone.jpg: a broken link",
        "not uploaded: pipe.jpg: a named pipe, not a file",
        "1 .3gp (clip.3gp; videos: make a dataset of kind video)",
        "1 @eaDir (@eaDir)",
        "left out by the scan: 1 .txt (notes.txt)",
    ):
        assert line in done.stdout, done.stdout
    dataset = _dataset(service, "names of all kinds")
    assert dataset["frame_count"] == 2
    assert dataset["excluded"] == {".txt": {"count": 1, "example": "notes.txt", "reason": "not an image"}}


def test_frames_made_anew_replace_the_old_ones(service: RunningService, tmp_path: Path) -> None:
    """Uncompressed TIFFs of one size; one keeps its old modification time, as `cp -p` does."""
    folder = tmp_path / "frames"
    folder.mkdir()

    def write(level: int, number: int) -> bytes:
        data = tiff(np.full((48, 64), level, np.uint16))
        (folder / f"f{number}.tif").write_bytes(data)
        return data

    words = ("ingest", str(folder), "--experiment", "made anew")
    for number in range(4):
        write(1000, number)
    assert _run(service, tmp_path, *words).returncode == 0
    first = _dataset(service, "made anew")
    assert _run(service, tmp_path, *words).returncode == 0
    assert _dataset(service, "made anew")["digest"] == first["digest"], "nothing has changed, nothing was sent"
    kept = (folder / "f1.tif").stat().st_mtime
    new = [write(2000 + number, number) for number in range(2)]
    os.utime(folder / "f1.tif", (kept, kept))
    (folder / "f3.tif").unlink()
    done = _run(service, tmp_path, *words)
    assert done.returncode == 0
    assert "1 stored files are not in the folder any more and stay: f3.tif" in done.stdout, done.stdout
    second = _dataset(service, "made anew")
    assert (second["bytes"], second["frame_count"]) == (first["bytes"], 4) and second["digest"] != first["digest"]
    assert [_image(service, second["id"], number) for number in range(2)] == new
    assert _run(service, tmp_path, *words, "--checksum").returncode == 0


def test_sidecars_alone_do_not_fail_and_the_wrong_kind_is_told(service: RunningService, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(numbered_picture(1)))
    (folder / "a.xmp").write_text("<x/>")
    (folder / "b.jpg").write_bytes(b"")
    done = _run(service, tmp_path, "ingest", str(folder), "--experiment", "sidecars")
    assert done.returncode == 0 and "1 frames cannot be read: 1 " in done.stdout and "(b.jpg)" in done.stdout
    dataset = _dataset(service, "sidecars")
    assert [(row["count"], row["example"]) for row in dataset["unreadable"]] == [(1, "b.jpg")]
    (folder / "a.jpg").rename(folder / "a.mp4")
    (folder / "b.jpg").unlink()
    (folder / "a.xmp").unlink()
    done = _run(service, tmp_path, "ingest", str(folder), "--experiment", "videos")
    assert done.returncode == 1
    assert "has no frames to upload (left out: 1 .mp4 (a.mp4; videos: make a dataset of kind video))" in done.stderr


@pytest.mark.parametrize("option", ["fps=0", "fps=nan", "quality=101", "width=true", "scale=inf", "no_such_field=1"])
def test_values_that_the_service_refuses_name_the_field(option: str, service: RunningService, tmp_path: Path) -> None:
    with service.client("alice") as client:
        experiment = client.post("/api/experiments", json={"name": f"refused {option}"})
        assert experiment.status_code in (201, 409), "the other store has it already"
    done = _run(service, tmp_path, "render", "--experiment", f"refused {option}", "--option", option)
    assert done.returncode == 2 and f"#/{option.partition('=')[0]}: " in done.stderr, done.stderr


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while it waits for a service that does not answer."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with clean_environment(REELMILL_HOME=str(tmp_path), REELMILL_URL=address):
            command = [sys.executable, "-m", "service", "ingest", str(tmp_path), "--experiment", "x"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        silent.settimeout(60)
        with silent.accept()[0] as connection:
            assert connection.recv(1)  # it is connected, has sent its request, and waits
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors


def test_a_folder_is_followed_until_it_is_interrupted(service: RunningService, tmp_path: Path) -> None:
    """The service registers what is sent by itself."""
    folder = tmp_path / "growing"
    folder.mkdir()
    variables = {"REELMILL_URL": service.url, "REELMILL_TOKEN": service.token("alice", SCOPES)}
    with clean_environment(REELMILL_HOME=str(tmp_path), **variables):
        command = [sys.executable, "-m", "service", "ingest", str(folder), "--experiment", "growing", "--follow"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for name in ("f1.jpg", "f2.jpg"):
            (folder / name).write_bytes(jpeg(numbered_picture(1)))
            _until(lambda: name in _frame_keys(service, "growing"))  # noqa: B023 (called at once)
        dataset = _dataset(service, "growing")
        assert (dataset["frame_count"], dataset["followed"]) == (2, True)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "since the start" in out and "Traceback" not in err, out + err


def _frame_keys(service: RunningService, experiment: str) -> list[str]:
    with service.client("alice") as client:
        found = client.get("/api/experiments", params={"q": experiment}).json()
        datasets = client.get(f"/api/experiments/{found[0]['id']}/datasets").json() if found else []
        frames = client.get(f"/api/datasets/{datasets[0]['id']}/frames").json() if datasets else []
        return [frame["key"].rpartition("/")[2] for frame in frames]


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)
