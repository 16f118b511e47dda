"""Slots on a GPU: real slot processes on a double of one, which goes wrong in each documented way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.devices.device import Device
from service.ids import RenderId, new_uuid
from service.plan.render_plan import Backend, RenderOptions
from service.store import workers
from service.store.database import Database
from service.store.renders import queries
from service.telemetry import metrics
from service.worker.supervisor import Supervisor
from tests.support.cuda_doubles import passing_gpu
from tests.support.data.database_rows import OPTIONS, add_render, capability_row, device_row
from tests.support.data.footage import add_footage
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
CUDA = replace(OPTIONS, width=320, height=240, family=Backend("cuda", "cpu"))
NVENC = replace(CUDA, family=Backend("cuda", "nvenc"))
CPU = replace(CUDA, family=Backend())


@asynccontextmanager
async def worker_on_double(database: Database, home: Path, name: str, **settings: Any) -> AsyncIterator[Supervisor]:
    """A worker with one slot on this double, when it knows its device."""
    driver = f"tests.support.cuda_doubles.{name}"
    async with running_supervisor(
        database, home, devices=passing_gpu.source(), driver=driver, **settings
    ) as supervisor:
        async with asyncio.timeout(PATIENCE_S):
            while not any(one.usable for one in supervisor.devices.capabilities()):
                await asyncio.sleep(0.05)
        yield supervisor


async def submit(database: Database, home: Path, options: RenderOptions, count: int = 40) -> RenderId:
    async with database.service_transaction() as connection:
        dataset = await add_footage(connection, home, count, size=(320, 240))
        return await add_render(connection, dataset, options=options)


def read_receipt(home: Path, row: Any) -> list[dict[str, Any]]:
    lines = (home / "objects" / "reelmill" / row["receipt_key"]).read_text().splitlines()
    return [json.loads(line) for line in lines]


def fallback_count(stage: str, code: str) -> float:
    return metrics.WORKER_REGISTRY.get_sample_value("reelmill_fallbacks_total", {"stage": stage, "reason": code}) or 0.0


def failure_count(code: str) -> float:
    return (
        metrics.WORKER_REGISTRY.get_sample_value("reelmill_task_failures_total", {"kind": "segment", "reason": code})
        or 0.0
    )


async def test_a_render_goes_through_the_device(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, worker_on_double(database, tmp_path, "sound"):
        row = await wait_until_ended(database, await submit(database, tmp_path, CUDA))
        cpu = await wait_until_ended(database, await submit(database, tmp_path, CPU))
    assert (row["status"], row["video_frames"]) == ("succeeded", 40)
    assert {line["decoder"] for line in read_receipt(tmp_path, row)[:-1]} == {"cuda-nvjpeg"}
    assert row["video_sha256"] == cpu["video_sha256"], "the double's pixels are the CPU's"


async def test_a_broken_context_ends_the_slot_and_the_third_start_is_by_the_cpu(
    postgres_url: str, tmp_path: Path
) -> None:
    before, ended_before = fallback_count("decode", "no_device"), failure_count("device_lost")
    async with fresh_database(postgres_url) as database, worker_on_double(database, tmp_path, "lost") as supervisor:
        first = supervisor.slots.processes[0].pid
        row = await wait_until_ended(database, await submit(database, tmp_path, CUDA, 15))
        assert supervisor.slots.processes[0].pid != first, "a fresh process took over"
    assert (row["status"], row["video_frames"]) == ("succeeded", 15)
    assert row["attempts"] == 3
    assert failure_count("device_lost") - ended_before == 2
    reasons = {line["fallback"] for line in read_receipt(tmp_path, row)[:-1]}
    assert "decode: two attempts on a GPU ended their slot" in reasons
    assert fallback_count("decode", "no_device") - before == 15


async def test_a_device_that_hangs_is_left_after_two_starts(postgres_url: str, tmp_path: Path) -> None:
    before = failure_count("hang")
    async with (
        fresh_database(postgres_url) as database,
        worker_on_double(database, tmp_path, "hanging", frame_timeout_s=1.5),
    ):
        row = await wait_until_ended(database, await submit(database, tmp_path, CUDA, 10))
    assert (row["status"], row["video_frames"], row["attempts"]) == ("succeeded", 10, 3)
    assert failure_count("hang") - before == 2
    assert {line["decoder"] for line in read_receipt(tmp_path, row)[:-1]} == {"ffmpeg-mjpeg"}


async def test_a_stack_that_cannot_be_imported_renders_by_the_cpu(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, worker_on_double(database, tmp_path, "not_importable"):
        row = await wait_until_ended(database, await submit(database, tmp_path, CUDA, 20))
    assert (row["status"], row["attempts"]) == ("succeeded", 1)
    assert "libnvidia-encode.so.1" in read_receipt(tmp_path, row)[0]["fallback"]


async def test_a_worker_without_a_device_renders_by_the_cpu(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path):
        row = await wait_until_ended(database, await submit(database, tmp_path, CUDA, 20))
    assert row["status"] == "succeeded"
    assert read_receipt(tmp_path, row)[0]["fallback"] == "decode: this slot has no GPU"


async def encoders_used(database: Database, render: RenderId) -> set[str]:
    query = text("""
        SELECT DISTINCT c.encoder FROM segments s JOIN segment_cache c ON c.content_key = s.content_key
        WHERE s.render_id = :render""")
    async with database.service_transaction() as connection:
        return set(await connection.scalars(query, {"render": render}))


async def test_nvenc_makes_the_whole_file(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with worker_on_double(database, tmp_path, "sound"):
            render = await submit(database, tmp_path, NVENC, 120)
            row = await wait_until_ended(database, render)
        assert await encoders_used(database, render) == {"nvenc h264 (device double)"}
    assert (row["status"], row["video_frames"]) == ("succeeded", 120)


async def test_an_encoder_lost_midway_plans_the_render_anew(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with worker_on_double(database, tmp_path, "two_encoders"):
            render = await submit(database, tmp_path, NVENC, 240)
            row = await wait_until_ended(database, render)
            same = await wait_until_ended(database, await submit(database, tmp_path, CUDA, 240))
        assert all(name.startswith("libx264") for name in await encoders_used(database, render)), "none is mixed in"
        async with database.service_transaction() as connection:
            options = RenderOptions.from_json((await queries.get_render(connection, render))["options"])  # type: ignore[index]
            states = await connection.execute(text("SELECT state FROM tasks WHERE render_id = :id"), {"id": render})
            assert {state for (state,) in states} == {"succeeded"}
    assert (row["status"], row["video_frames"]) == ("succeeded", 240)
    assert options.family == Backend("cuda", "cpu")
    assert row["stages"]["encode"] == {"device": "cpu", "reason": "planned anew: no NVENC session for h264"}
    assert row["video_sha256"] == same["video_sha256"]


async def test_a_slot_without_a_gpu_leaves_nvenc_to_who_has_it(postgres_url: str, tmp_path: Path) -> None:
    """Until that worker is gone: then the render is planned anew."""
    other = new_uuid()
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            await workers.record_heartbeat(connection, other, "other", 1, "1")
            rows = [capability_row("cuda:0", stage="encode", what="h264")]
            await workers.write_devices(connection, other, [device_row("cuda:0")], rows)
        render = await submit(database, tmp_path, NVENC, 10)
        async with running_supervisor(database, tmp_path):
            await asyncio.sleep(1.5)  # longer than its poll
            async with database.service_transaction() as connection:
                assert await connection.scalar(text("SELECT max(lease) FROM tasks")) == 0, "it is not even tried"
                row = await queries.get_render(connection, render)
                assert row is not None and RenderOptions.from_json(row["options"]).family == NVENC.family
                await workers.unregister_worker(connection, other)
            row = await wait_until_ended(database, render)
        assert all(name.startswith("libx264") for name in await encoders_used(database, render))
    assert (row["status"], row["video_frames"]) == ("succeeded", 10)


async def test_a_quarantined_device_is_not_used(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, worker_on_double(database, tmp_path, "sound") as supervisor:
        known = [
            replace(one, state="quarantined", reason="wrong pixels") if one.stage == "transform" else one
            for one in supervisor.devices.capabilities()
        ]
        supervisor.devices.capabilities = lambda: tuple(known)  # type: ignore[method-assign]
        row = await wait_until_ended(database, await submit(database, tmp_path, CUDA, 10))
    assert row["status"] == "succeeded"
    assert read_receipt(tmp_path, row)[0]["fallback"] == "decode: cuda:0 transform nv12 is quarantined: wrong pixels"


def _slow_probe() -> list[Device]:
    time.sleep(2)
    return [Device(passing_gpu.GPU, "gpu", "double")]


async def test_no_task_is_taken_before_the_devices_are_known(postgres_url: str, tmp_path: Path) -> None:
    slow = replace(passing_gpu.source(), probes=(_slow_probe,))
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, CUDA, 10)
        async with running_supervisor(database, tmp_path, devices=slow, driver="tests.support.cuda_doubles.sound"):
            row = await wait_until_ended(database, render)
    assert {line["decoder"] for line in read_receipt(tmp_path, row)[:-1]} == {"cuda-nvjpeg"}


async def test_a_worker_stops_while_it_looks_at_its_devices(postgres_url: str, tmp_path: Path) -> None:
    looking = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> list[Device]:
        loop.call_soon_threadsafe(looking.set)
        return _slow_probe()

    slow = replace(passing_gpu.source(), probes=(look,))
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path, devices=slow):
        await looking.wait()


async def test_the_api_plans_by_what_live_workers_have_proven(postgres_url: str, tmp_path: Path) -> None:
    from service.store.renders.facts import read_cluster_capabilities

    async with fresh_database(postgres_url) as database, worker_on_double(database, tmp_path, "sound"):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with database.service_transaction() as connection:  # the worker writes between two looks
                    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                    found = await read_cluster_capabilities(connection)
                    rows = await workers.best_capabilities(connection)
                if len(rows) == len(passing_gpu.CAPABILITIES) and all(one.usable for one in rows):
                    break
                await asyncio.sleep(0.1)
    assert set(found.capabilities) == set(rows)
    assert found.slots_per_device == 1.0
