"""`reelmill verify`: an unchanged pair passes in a shell; every kind of tampering is reported."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.commands import verify
from tests.support.data.database_rows import add_render
from tests.support.data.footage import add_footage, frame_jpeg
from tests.support.processes.command import run_command
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
Lines = list[dict[str, Any]]
SET_CAPTURE_TIMES = "UPDATE frames SET captured_at = timestamptz '2026-01-01 00:00Z' + index * interval '0.5 s'"


@pytest.fixture(scope="module")
async def pair(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(video, receipt) of a real render in which one frame is damaged, so another is held."""
    home = tmp_path_factory.mktemp("verify")
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(
                connection, home, 40, make=lambda *of: frame_jpeg(*of) if of[0] != 17 else b"no"
            )
            await connection.execute(text(SET_CAPTURE_TIMES))
            render = await add_render(connection, dataset)
        async with running_supervisor(database, home):
            row = await wait_until_ended(database, render)
    assert row["status"] == "succeeded", row["error"]
    folder = home / "objects" / "reelmill"
    return folder / row["video_key"], folder / row["receipt_key"]


def read_lines(receipt: Path) -> Lines:
    return [json.loads(line) for line in receipt.read_text().splitlines()]


def run_verify(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return run_command("verify", *map(str, words))


async def test_the_receipt_says_all(pair: tuple[Path, Path]) -> None:
    *lines, last = read_lines(pair[1])
    summary = last["summary"]
    assert [line["source"] for line in lines] == [line["output"] for line in lines] == list(range(40))
    held = lines[17]
    assert (held["outcome"], held["substituted_from"], bool(held["reason"])) == ("held", 16, True)
    assert all(line["etag"] and line["key"] and line["decoder"] for line in lines if line["outcome"] == "ok")
    assert set(summary["stage_seconds"]) >= {"fetch", "decode", "transform", "encode"}
    assert (summary["segments"], summary["segments_reused"]) == (1, 0)
    assert {"options", "encoder", "versions", "sha256", "request", "stages", "dataset_id"} <= set(summary)
    assert lines[3]["captured_at"] == "2026-01-01T00:00:01.500000Z"
    assert summary["outcomes"] == {"ok": 39, "held": 1}


async def test_an_honest_pair_passes(pair: tuple[Path, Path]) -> None:
    done = run_verify(*pair)
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 frames (1 held, 39 ok)" in done.stdout


async def test_another_byte_in_the_video(pair: tuple[Path, Path], tmp_path: Path) -> None:
    data = bytearray(pair[0].read_bytes())
    data[-1] ^= 1
    (tmp_path / "video.mp4").write_bytes(data)
    done = run_verify(tmp_path / "video.mp4", pair[1])
    assert (done.returncode, "sha256" in done.stderr) == (1, True)


async def test_a_video_that_is_cut_off(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(pair[0].read_bytes()[:2000])
    found = verify.find_faults(tmp_path / "video.mp4", verify.read_receipt(pair[1]))
    assert any("bytes" in fault for fault in found) and any(
        "decoding fails" in fault or "decodable" in fault for fault in found
    )


async def test_files_that_are_not_there_are_a_usage_error(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert run_verify(tmp_path / "nothing.mp4", pair[1]).returncode == 2


def _change_summary(name: str, value: Any) -> Callable[[Lines], Any]:
    return lambda lines: lines[-1]["summary"].update({name: value})


def _change_line(number: int, **changes: Any) -> Callable[[Lines], Any]:
    return lambda lines: lines[number].update(changes)


TAMPERINGS: dict[str, tuple[Callable[[Lines], Any], str]] = {
    "more frames": (_change_summary("frames", 41), "41"),
    "other size": (_change_summary("width", 640), "640x48"),
    "other digest": (_change_summary("sha256", "0" * 64), "sha256"),
    "other outcomes": (_change_summary("outcomes", {"ok": 40}), "outcomes"),
    "a line gone": (lambda lines: lines.pop(5), "output frame 6"),
    "two lines swapped": (lambda lines: lines.insert(3, lines.pop(4)), "output frame 4"),
    "a source twice": (_change_line(6, source=5), "source frame 5"),
    "a hold denied": (_change_line(17, outcome="ok"), "substituted_from"),
    "a hold unexplained": (_change_line(17, reason=None), "without a reason"),
    "a frame skipped that is shown": (_change_line(8, outcome="skipped", reason="x"), "skipped"),
    "no digest": (_change_line(9, sha256="abc"), "not a digest"),
    "nothing shown": (_change_line(9, key=None), "without a source"),
    "no outcome": (_change_line(9, outcome=None), "no outcome"),
    "no summary": (lambda lines: lines.pop(), "summary"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_tampering_is_named(name: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    tamper, named = TAMPERINGS[name]
    lines = read_lines(pair[1])
    tamper(lines)
    receipt = tmp_path / "receipt.ndjson"
    receipt.write_text("".join(json.dumps(line) + "\n" for line in lines))
    matches, lines = verify.verify_video(pair[0], receipt)
    assert not matches and any(named in line for line in lines), lines


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]\n", b'{"output": 0}\n', b"null\n"])
async def test_what_is_no_receipt(content: bytes, pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "receipt.ndjson").write_bytes(content)
    matches, lines = verify.verify_video(pair[0], tmp_path / "receipt.ndjson")
    assert not matches and lines[0].startswith("receipt: ")
