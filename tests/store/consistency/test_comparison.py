"""Bucket and database are compared both ways, and what differs is repaired, within a limit."""

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from service.store.consistency.comparison import GRACE, UPLOAD_GRACE, Report, check_consistency, repair
from service.store.objects.digests import sha256_hex
from service.store.objects.files import TEMP_FOLDER
from service.store.objects.keys import render_object_key, segment_key
from service.worker.maintenance import Maintenance
from service.worker.settings import WorkerSettings
from tests.support.data.removable_objects import Store, files, make

pytestmark = pytest.mark.anyio


async def age(store: Store) -> None:
    """Everything was written long ago."""
    long_ago = time.time() - 2 * GRACE.total_seconds()
    for file in store.objects.root.rglob("*"):
        if file.is_file():
            os.utime(file, (long_ago, long_ago))
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE segment_cache SET created_at = now() - interval '1 day'"))
        await connection.execute(text("UPDATE renders SET finished_at = now() - interval '1 day'"))


async def publish_all(store: Store) -> tuple[str, list[str]]:
    """A finished render with its files and segments, whose digests are known; its identifier and content keys."""
    _, render = await make(store)
    keys = await store.publish(render)
    names = {column: render_object_key(render, name) for column, name in FILES.items()}
    await store.put(*names.values())
    async with store.database.service_transaction() as connection:
        query = f"UPDATE renders SET status = 'succeeded', {', '.join(f'{column} = :{column}' for column in names)}"
        await connection.execute(text(query), names)
        digest = sha256_hex(b"x")
        query = "UPDATE segment_cache SET digests = jsonb_build_object('mp4', CAST(:digest AS text))"
        await connection.execute(text(query), {"digest": digest})
    return str(render), keys


FILES = {"video_key": "video.mp4", "poster_key": "poster.jpg", "receipt_key": "receipt.ndjson"}


async def test_what_fits_together_is_left_alone(store: Store) -> None:
    _, keys = await publish_all(store)
    await age(store)
    before = await store.keys()
    report = await check_consistency(store.database, store.objects)
    assert report.is_clean and report.sampled == len(keys)
    assert report.objects == len(before) == len(files(keys)) + len(FILES)
    await repair(store.database, store.objects, report)
    await store.run()
    assert await store.keys() == before


async def test_orphans_are_found_and_removed(store: Store) -> None:
    render, keys = await publish_all(store)
    orphans = {segment_key("ab" * 32), render_object_key(uuid4(), "video.mp4"), f"previews/{uuid4()}/a.jpg"}
    async with store.database.service_transaction() as connection:
        dataset = await connection.scalar(text("SELECT id FROM datasets LIMIT 1"))
    orphans.add(f"previews/{dataset}/{uuid4()}/a.png")  # of a render that was deleted
    await store.put(*orphans, "somebody/else.txt", f"previews/{dataset}/{render}/a.png", f"previews/{dataset}/a.jpg")
    assert (await check_consistency(store.database, store.objects)).is_clean, "what is young may still get its row"
    await age(store)
    before = await store.keys()
    report = await check_consistency(store.database, store.objects)
    assert {key for key in orphans if any(key.startswith(prefix) for prefix in report.orphans)} == orphans
    assert (report.orphan_objects, len(report.orphans)) == (4, 4)
    await repair(store.database, store.objects, report)
    assert (await check_consistency(store.database, store.objects)).is_clean, "what is scheduled is no finding"
    await store.run()
    assert await store.keys() == before - orphans
    assert set(files(keys)) <= await store.keys() and render_object_key(render, "video.mp4") in before  # type: ignore[arg-type]


async def test_what_is_gone_or_damaged_is_made_again(store: Store) -> None:
    render, (first, second, *_) = await publish_all(store)
    await age(store)
    root = store.objects.root / "reelmill"
    (root / segment_key(first)).unlink()
    (root / segment_key(second)).write_bytes(b"y")
    (root / render_object_key(render, "video.mp4")).unlink()  # type: ignore[arg-type]
    report = await check_consistency(store.database, store.objects)
    assert (report.lost_segments, report.damaged_segments) == ([first], [second])
    assert list(report.lost_files.values()) == [[render_object_key(render, "video.mp4")]]  # type: ignore[arg-type]
    await repair(store.database, store.objects, report)
    async with store.database.service_transaction() as connection:
        left = set(await connection.scalars(text("SELECT content_key FROM segment_cache")))
        assert not {first, second} & left
        row = (await connection.execute(text("SELECT status, remake FROM renders"))).one()
        waiting = await connection.scalar(
            text("SELECT count(*) FROM tasks WHERE kind = 'assemble' AND state = 'queued'")
        )
    assert (row.status, row.remake["file"], waiting) == ("queued", "video", 1)


async def test_uploads_that_never_ended_are_found_and_aborted(store: Store) -> None:
    left = store.objects.root / TEMP_FOLDER / "left"
    left.write_bytes(b"x")
    assert (await check_consistency(store.database, store.objects)).is_clean, "it may still go on"
    long_ago = time.time() - UPLOAD_GRACE.total_seconds() - 60
    os.utime(left, (long_ago, long_ago))
    await store.objects.check()
    report = await check_consistency(store.database, store.objects)
    assert [upload.id for upload in report.unfinished] == ["left"] and not report.is_clean
    await repair(store.database, store.objects, report)
    assert not left.exists() and (await check_consistency(store.database, store.objects)).is_clean
    left.write_bytes(b"x")
    os.utime(left, (long_ago, long_ago))
    await Maintenance(store.database, store.objects, WorkerSettings.model_construct()).abort_unfinished_uploads()
    assert not left.exists(), "workers do so, too"


def test_the_share_that_a_repair_deletes() -> None:
    assert Report().orphan_share == 0
    assert Report(objects=10, orphan_objects=3).orphan_share == pytest.approx(0.3)


async def test_the_command(store: Store, postgres_url: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "objects" / "reelmill" / "renders" / str(uuid4())).mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REELMILL_", "MINIO_"))}
    environment |= {"DATABASE_URL": store.database.url, "REELMILL_HOME": str(home)}

    def fsck(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", "fsck", *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert fsck().returncode == 0 and "fit together" in fsck().stdout
    (folder,) = (home / "objects" / "reelmill" / "renders").iterdir()
    orphan = folder / "video.mp4"
    orphan.write_bytes(b"x")
    os.utime(orphan, (time.time() - 2 * GRACE.total_seconds(),) * 2)
    left = home / "objects" / TEMP_FOLDER / "left"
    left.write_bytes(b"x")
    os.utime(left, (time.time() - 2 * UPLOAD_GRACE.total_seconds(),) * 2)
    found = fsck()
    assert found.returncode == 1 and "1 objects belong to nothing" in found.stdout
    assert "1 uploads began more than a day ago" in found.stdout
    refused = fsck("--fix")
    assert refused.returncode == 1 and "100% of the objects belong to nothing" in refused.stderr
    assert await store.count("removals") == 0
    assert fsck("--fix", "--max-share", "1").returncode == 0
    assert await store.count("removals") == 1
    assert not left.exists()
