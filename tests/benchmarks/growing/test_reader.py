"""What the reader of the newest video reports, and what the command makes of its rows."""

import hashlib
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from benchmarks.growing.measurement import GOAL, report
from benchmarks.growing.reader import Reader, Version
from tests.support.data import media

OLD, NEW = (media.video(map(media.numbered_picture, range(count))) for count in (4, 6))


def version(number: int, video: bytes, frames: int) -> Version:
    return Version(number, frames, hashlib.sha256(video).hexdigest())


VERSIONS = [version(0, OLD, 4), version(1, NEW, 6)]


def read(folder: Path, *bodies: bytes, etag: str | None = None) -> Reader:
    """A reader that was answered with these videos."""
    waiting = list(bodies)

    def answer(_: httpx.Request) -> httpx.Response:
        body = waiting.pop(0)
        return httpx.Response(200, content=body, headers={"ETag": etag or f'"{hashlib.sha256(body).hexdigest()}"'})

    reader = Reader(folder)
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://mill") as client:
        for _ in bodies:
            reader.read(client, "experiment")
    return reader


def test_whole_videos_in_their_order_are_right(tmp_path: Path) -> None:
    assert read(tmp_path, OLD, OLD, NEW).faults(VERSIONS) == []


@pytest.mark.parametrize(
    ("bodies", "told"),
    [
        ((OLD[: len(OLD) // 2],), "is no version"),
        ((NEW, OLD), "version 0 came after version 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, bodies: tuple[bytes, ...], told: str) -> None:
    (fault,) = read(tmp_path, *bodies).faults(VERSIONS)
    assert told in fault


def test_a_version_without_all_its_frames(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, OLD).faults([version(0, OLD, 5)])
    assert fault == "version 0 has 5 frames, and 4 were decoded"


def test_an_etag_of_another_video(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, OLD, etag='"other"').faults(VERSIONS)
    assert "was sent with the ETag" in fault


def test_answers_that_are_none(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(404)), base_url="http://mill") as client:
        reader.read(client, "experiment")
    (fault,) = reader.faults(VERSIONS)
    assert fault.startswith("1 answers: status 404")


@pytest.mark.parametrize(
    ("worker", "seconds", "faults", "code"),
    [(GOAL, GOAL, [], 0), (GOAL + 0.01, 0.01, [], 1), (0.01, GOAL + 0.01, [], 1), (0.01, 0.01, ["half a file"], 1)],
)
def test_the_exit_code(worker: float, seconds: float, faults: list[str], code: int) -> None:
    rows: list[dict[str, Any]] = [
        {"figure": "version", "worker_part": worker, "seconds_part": seconds},
        {"figure": "reader", "answers": 3, "videos": 2, "faults": faults},
    ]
    assert report(rows, Console(file=io.StringIO())) == code
