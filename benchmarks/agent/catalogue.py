"""A catalogue of alice and bob, as rows without files; ages count from now."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import PIPELINE_VERSION
from service.store.tables import datasets, experiments, frames, renders, requesters, sources

NAMESPACE = UUID("6f0c3c52-6a3e-4f0e-9a57-1c1f6c1f7a10")
ALICE, BOB = "alice", "bob"
# Name, owner, visibility, age in days.
EXPERIMENTS = (
    ("2026-03-zebrafish", ALICE, "private", 250.0),
    ("Plant 3", ALICE, "shared", 40.0),
    ("Aspergillus growth", ALICE, "private", 10.0),
    ("weld line A", ALICE, "public", 3.0),
    ("weld line B", ALICE, "private", 1.0),
    ("night sky", ALICE, "private", 0.01),
    ("yeast", ALICE, "private", 400.0),
    ("bare", ALICE, "private", 20.0),
    ("coral reef", BOB, "public", 5.0),
    ("secret alloy", BOB, "private", 2.0),
)
# Experiment, name, kind, state, frames, width, height, bytes, unreadable frames, formats.
DATASETS: tuple[tuple[str, str, str, str, int, int, int, int, int, list[str]], ...] = (
    ("2026-03-zebrafish", "camera left", "frames", "ready", 1200, 1920, 1080, 2_400_000_000, 3, ["jpeg"]),
    ("2026-03-zebrafish", "camera right", "frames", "ready", 1180, 1920, 1080, 2_300_000_000, 0, ["jpeg"]),
    ("Plant 3", "topview", "frames", "ready", 600, 4096, 3000, 7_000_000_000, 0, ["tiff"]),
    ("Plant 3", "sideview", "frames", "failed", 0, 0, 0, 0, 0, []),
    ("Aspergillus growth", "plate 1", "frames", "ready", 90, 1024, 768, 60_000_000, 1, ["png"]),
    ("Aspergillus growth", "plate 2", "frames", "scanning", 40, 1024, 768, 30_000_000, 0, ["png"]),
    ("weld line A", "pyrometer", "frames", "ready", 5000, 640, 480, 900_000_000, 12, ["tiff"]),
    ("weld line B", "pyrometer B", "frames", "ready", 4800, 640, 480, 850_000_000, 0, ["tiff"]),
    ("night sky", "dome", "video", "ready", 3000, 5120, 2880, 4_000_000_000, 0, []),
    ("yeast", "colony", "frames", "empty", 0, 0, 0, 0, 0, []),
    ("coral reef", "buoy", "frames", "ready", 300, 1920, 1080, 500_000_000, 0, ["webp"]),
    ("secret alloy", "furnace", "frames", "ready", 777, 800, 600, 100_000_000, 0, ["jpeg"]),
)
# Dataset, owner, status, age in hours, bytes of the video, frames, priority.
RENDERS = (
    ("camera left", ALICE, "succeeded", 5000.0, 48_000_000, 1200, 0),
    ("camera left", ALICE, "failed", 700.0, None, 1200, 0),
    ("camera right", ALICE, "succeeded", 400.0, 2_600_000_000, 1180, 0),
    ("topview", ALICE, "succeeded", 150.0, 3_100_000_000, 600, 5),
    ("topview", ALICE, "cancelled", 149.0, None, 600, 0),
    ("plate 1", ALICE, "succeeded", 30.0, 4_000_000, 90, 0),
    ("plate 1", ALICE, "failed", 26.0, None, 90, 9),
    ("pyrometer", ALICE, "succeeded", 12.0, 21_000_000, 5000, 0),
    ("pyrometer", ALICE, "running", 0.5, None, 5000, 3),
    ("pyrometer B", ALICE, "queued", 0.2, None, 4800, 0),
    ("dome", ALICE, "failed", 0.1, None, 3000, 0),
    ("buoy", BOB, "succeeded", 60.0, 9_000_000, 300, 0),
    ("furnace", BOB, "succeeded", 20.0, 8_000_000, 777, 0),
)
# Of the dataset plate 1: every frame is a minute after the one before.
PLATE, PLATE_FRAMES, PLATE_AGE = "plate 1", 90, timedelta(days=9)
PLATE_PROBLEMS = {41: "not an image that can be decoded"}


def row_id(*names: object) -> UUID:
    return uuid5(NAMESPACE, "/".join(map(str, names)))


async def write_catalogue(connection: AsyncConnection, now: datetime | None = None) -> None:
    now = now or datetime.now(UTC)
    await _write(connection, experiments, [_experiment(now, *row) for row in EXPERIMENTS])
    await _write(connection, datasets, [_dataset(now, *row) for row in DATASETS])
    await _write(connection, frames, [_frame(now, index) for index in range(PLATE_FRAMES)])
    await _write(connection, sources, [_source(number) for number in range(2)])
    written = [_render(now, number, *row) for number, row in enumerate(RENDERS)]
    await _write(connection, renders, written)
    await _write(connection, requesters, [{"render_id": row["id"], "subject": row["owner"]} for row in written])


async def _write(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    await connection.execute(insert(table), rows)


def _experiment(now: datetime, name: str, owner: str, visibility: str, age_days: float) -> dict[str, Any]:
    created = now - timedelta(days=age_days)
    return {
        "id": row_id("experiment", name),
        "name": name,
        "owner": owner,
        "visibility": visibility,
        "created_at": created,
        "updated_at": created,
    }


def _dataset(now: datetime, experiment: str, name: str, *rest: Any) -> dict[str, Any]:
    kind, state, frame_count, width, height, size, unreadable, formats = rest
    age = next(age for known, _, _, age in EXPERIMENTS if known == experiment)
    return {
        "id": row_id("dataset", name),
        "experiment_id": row_id("experiment", experiment),
        "name": name,
        "kind": kind,
        "bucket": "reelmill",
        "prefix": f"frames/{name}/",
        "state": state,
        "error": "the prefix holds no images" if state == "failed" else None,
        "frame_count": frame_count,
        "width": width or None,
        "height": height or None,
        "bytes": size,
        "unreadable_frames": unreadable,
        "formats": formats,
        "digest": name,
        "created_at": now - timedelta(days=age),
    }


def _frame(now: datetime, index: int) -> dict[str, Any]:
    return {
        "dataset_id": row_id("dataset", PLATE),
        "index": index,
        "number": index,
        "key": f"frames/{PLATE}/f{index:04d}.png",
        "size": 500_000 + 1000 * index,
        "etag": str(index),
        "format": "png",
        "width": 1024,
        "height": 768,
        "captured_at": now - PLATE_AGE + timedelta(minutes=index),
        "problem": PLATE_PROBLEMS.get(index),
    }


def _source(number: int) -> dict[str, Any]:
    return {
        "dataset_id": row_id("dataset", "dome"),
        "number": number,
        "key": f"frames/dome/night{number}.mp4",
        "size": 2_000_000_000,
        "etag": str(number),
        "codec": "hevc" if number else "h264",
        "width": 5120,
        "height": 2880,
        "first_index": 1500 * number,
        "frame_count": 1500,
        "pts": b"",
    }


def _render(now: datetime, number: int, dataset: str, owner: str, *rest: Any) -> dict[str, Any]:
    status, age_hours, video_bytes, frame_count, priority = rest
    experiment = next(row[0] for row in DATASETS if row[1] == dataset)
    created, ended = now - timedelta(hours=age_hours), status in ("succeeded", "failed", "cancelled")
    return {
        "id": row_id("render", number),
        "owner": owner,
        "experiment_id": row_id("experiment", experiment),
        "dataset_id": row_id("dataset", dataset),
        "render_key": f"render-{number}",
        "request": {},
        "options": {},
        "frames_total": frame_count,
        "pipeline": int(PIPELINE_VERSION),
        "priority": priority,
        "status": status,
        "video_bytes": video_bytes,
        "video_frames": frame_count if video_bytes else None,
        "error": {"code": "decode", "reason": "the video memory was lost"} if status == "failed" else None,
        "created_at": created,
        "started_at": None if status == "queued" else created + timedelta(seconds=2),
        "finished_at": created + timedelta(minutes=3) if ended else None,
    }
