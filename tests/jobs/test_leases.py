"""Leases: fencing, poison, forgiveness, join, and the queue that carries them."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import SQLAlchemyError

from service.ids import TaskId
from service.jobs import leases
from service.jobs.leases import Failure, LeaseLost
from service.plan.names.media_names import Exclusions
from service.plan.render_plan import Backend, RenderOptions
from service.store.cache.segments import CacheEntry, insert_entry, list_render_segments
from service.store.catalog.datasets import enqueue_scan
from service.store.catalog.scanned import ScannedFrame
from service.store.database import Database
from service.store.renders import lifecycle
from service.store.tables import datasets, renders, segments
from service.worker import outcomes
from service.worker.scan.store import ScanResult
from service.worker.scan.writer import open_scan_writer
from service.worker.slots.messages import EncoderUnavailable, SegmentDone, SegmentsMissing, TaskFailed
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.patience import PATIENCE_S
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
DONE = SegmentDone(1000, 75, "x264", {"encode": 1.0}, 75, 7500, {}, "a" * 64)


async def list_tasks(database: Database, render: Any) -> list[Any]:
    async with database.service_transaction() as connection:
        query = text("SELECT * FROM tasks WHERE render_id = :render ORDER BY kind DESC, number")
        return list((await connection.execute(query, {"render": render})).mappings())


async def add_tasks(database: Database, frames: int = 300) -> tuple[Any, list[Any]]:
    async with database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, frames))
    return render, await list_tasks(database, render)


async def acquire_lease(database: Database, task: Any) -> Any:
    async with database.service_transaction() as connection:
        return await leases.acquire(connection, TaskId(task["id"]), "w")


async def take_over(database: Database, task: Any) -> Any:
    """As `acquire_lease`, of a task whose worker is lost."""
    async with database.service_transaction() as connection:
        await connection.execute(text("UPDATE tasks SET state = 'queued' WHERE id = :id"), {"id": task["id"]})
        return await leases.acquire(connection, TaskId(task["id"]), "w")


async def test_a_stale_lease_writes_nothing(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        _, (task, *_) = await add_tasks(database)
        frozen, winner = await acquire_lease(database, task), await take_over(database, task)
        for write in (
            lambda c: outcomes.record_outcome(c, frozen, DONE),
            lambda c: outcomes.record_outcome(c, frozen, TaskFailed("x", "y")),
            lambda c: leases.release(c, frozen, Failure("x", "")),
        ):
            with pytest.raises(LeaseLost):
                async with database.service_transaction() as connection:
                    await write(connection)
        async with database.service_transaction() as connection:
            assert await leases.heartbeat(connection, [(frozen, 5)]) == {}
            assert await leases.heartbeat(connection, [(winner, 7)]) == {winner.task_id: False}
            cached = await connection.scalar(text("SELECT count(*) FROM segment_cache"))
        assert cached == 0, "the fenced worker's result was rolled back whole"


async def test_the_last_segment_queues_the_assembly_exactly_once(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render, tasks = await add_tasks(database)
        assert [task["number"] for task in tasks] == [0, 1, 2, 3]
        acquired = [await acquire_lease(database, task) for task in tasks]

        async def finish(lease: Any) -> None:
            async with database.service_transaction() as connection:
                await outcomes.record_outcome(connection, lease, DONE)

        await asyncio.gather(*(finish(lease) for lease in acquired))
        kinds = [task["kind"] for task in await list_tasks(database, render)]
        assert kinds.count("assemble") == 1


async def test_a_failed_segment_fails_the_render_and_calls_off_the_rest(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render, tasks = await add_tasks(database)
        lease = await acquire_lease(database, tasks[1])
        async with database.service_transaction() as connection:
            await outcomes.record_outcome(connection, lease, TaskFailed("frame_policy", "frame 80: truncated"))
            row = (await connection.execute(text("SELECT status, error FROM renders"))).one()
        assert row.status == "failed"
        assert row.error["reason"] == "frame 80: truncated"
        assert {task["state"] for task in await list_tasks(database, render)} == {"cancelled", "failed"}
        assert await acquire_lease(database, tasks[2]) is None, "a task that was called off is not started"


async def test_starts_are_counted_and_outages_are_forgiven(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        _, (task, *_) = await add_tasks(database)
        lease = await acquire_lease(database, task)
        async with database.service_transaction() as connection:
            await leases.release(connection, lease, Failure("x", "store away", counted=False))
        lease = await acquire_lease(database, task)
        assert lease.attempts == 1
        async with database.service_transaction() as connection:
            await leases.release(connection, lease, Failure("x", "killed by SIGSEGV"))
            assert await leases.previous_error(connection, lease.task_id) == "killed by SIGSEGV"
        assert (await acquire_lease(database, task)).attempts == 2


async def test_lost_segments_are_made_again(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render, tasks = await add_tasks(database, 12)
        lease = await acquire_lease(database, tasks[0])
        async with database.service_transaction() as connection:
            await outcomes.record_outcome(connection, lease, DONE)
            key = await connection.scalar(text("SELECT content_key FROM segment_cache"))
        assembly = next(task for task in await list_tasks(database, render) if task["kind"] == "assemble")
        lease = await acquire_lease(database, assembly)
        async with database.service_transaction() as connection:
            await insert_entry(connection, CacheEntry("b" * 64, "segments/bb/b.mp4", 1, 1, "x264", {}))
            await outcomes.record_outcome(connection, lease, SegmentsMissing((key, "b" * 64)))
            left = (await connection.execute(text("SELECT content_key FROM segment_cache"))).scalars().all()
            assert left == ["b" * 64], "the segments of other renders stay"
        states = [(task["kind"], task["state"]) for task in await list_tasks(database, render)]
        assert sorted(states) == [("assemble", "cancelled"), ("segment", "queued")]


async def test_a_segment_that_is_lost_whenever_it_is_made_fails_the_render(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render, (task,) = await add_tasks(database, 12)
        waits = list[float]()
        for _ in range(4):
            lease = await acquire_lease(database, task)
            async with database.service_transaction() as connection:
                await outcomes.record_outcome(connection, lease, DONE)
                (segment,) = await list_render_segments(connection, render)
            assembly = next(each for each in await list_tasks(database, render) if each["state"] == "queued")
            lease = await acquire_lease(database, assembly)
            async with database.service_transaction() as connection:
                await outcomes.record_outcome(connection, lease, SegmentsMissing((segment.content_key,)))
                row = (await connection.execute(text("SELECT status, error FROM renders"))).one()
                due = "SELECT extract(epoch FROM due_at - now())::float FROM tasks WHERE state = 'queued'"
                waits += (await connection.scalars(text(due))).all()
            task = next((each for each in await list_tasks(database, render) if each["state"] == "queued"), None)
        assert (row.status, row.error["code"]) == ("failed", "store_loses_objects")
        assert waits[0] < 1 and 3 < waits[1] < 7 and 22 < waits[2] < 38 and len(waits) == 3, "after growing gaps"
        assert segment.content_key in row.error["reason"]
        async with database.service_transaction() as connection:
            assert await lifecycle.retry_render(connection, render)
        states = [(task["kind"], task["state"]) for task in await list_tasks(database, render)]
        assert states.count(("assemble", "queued")) == 1, "the assembly that was replaced is not started, too"


@pytest.mark.parametrize("finished", [False, True])
async def test_a_finished_render_is_not_planned_anew(postgres_url: str, finished: bool) -> None:
    """One of its segments is rendered again for somebody who plays it, and the GPU is gone since."""
    on_gpu = replace(OPTIONS, family=Backend(encoder="nvenc"))
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            await add_render(connection, await add_dataset(connection, 200), options=on_gpu)
            status = "succeeded" if finished else "running"
            await connection.execute(update(renders).values(status=status))
            tasks = list(await connection.scalars(text("SELECT id FROM tasks ORDER BY number")))
            before = (await connection.execute(select(segments.c.content_key))).all()
        lease = await acquire_lease(database, {"id": tasks[0]})
        async with database.service_transaction() as connection:
            await outcomes.record_outcome(connection, lease, EncoderUnavailable("no device"))
            after = (await connection.execute(select(segments.c.content_key))).all()
            row = (await connection.execute(select(renders))).mappings().one()
            ended = await connection.scalar(text("SELECT error ->> 'code' FROM tasks WHERE state = 'failed'"))
        assert row["status"] == status
        assert RenderOptions.from_json(row["options"]).family.encoder == ("nvenc" if finished else "cpu")
        assert (before == after, ended) == ((True, "encoder_gone") if finished else (False, None))


async def test_a_scan_without_its_lease_writes_nothing(postgres_url: str) -> None:
    """A worker that was frozen goes on after another one has scanned the dataset again."""
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 3)
            task = await enqueue_scan(connection, dataset.id)
            await connection.execute(update(datasets).values(state="ready", scanned=3))
            before = (await connection.execute(select(datasets))).mappings().one()
        frozen = await acquire_lease(database, task)
        async with open_scan_writer(database, dataset.id, frozen) as writer:
            assert await writer.begin()
            await writer.stage([ScannedFrame("a", f"{dataset.prefix}a.jpg", 1, 9, "old")])
            lease = await take_over(database, task)
            async with database.service_transaction() as connection:
                await connection.execute(update(datasets).values(state="ready", scanned=3))
                await leases.finish(connection, lease, "succeeded")
            facts = {"frame_count": 0, "bytes": 0, "width": 1, "problems": [], "unreadable_frames": 0, "gap_frames": 0}
            for write in (
                writer.begin(),
                writer.advance(7),
                writer.finish_frames(ScanResult(1, Exclusions())),
                writer.finish_videos((), ScanResult(1, Exclusions(), facts=facts)),
            ):
                with pytest.raises(LeaseLost):
                    await write
        async with database.service_transaction() as connection:
            after = (await connection.execute(select(datasets))).mappings().one()
            assert {**after, "updated_at": None} == {**before, "updated_at": None}
            assert await connection.scalar(text("SELECT count(*) FROM frames")) == 3


async def test_segments_that_differ_are_made_again_once(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render, _ = await add_tasks(database, 12)
        differ = TaskFailed("segments_differ", "frame 6")
        for again in (False, True):
            waiting = [task for task in await list_tasks(database, render) if task["state"] == "queued"]
            assert [task["kind"] for task in waiting] == ["segment"]
            async with database.service_transaction() as connection:
                await outcomes.record_outcome(
                    connection, await leases.acquire(connection, TaskId(waiting[0]["id"]), "w"), DONE
                )
            waiting = [task for task in await list_tasks(database, render) if task["state"] == "queued"]
            assert [task["kind"] for task in waiting] == ["assemble"]
            async with database.service_transaction() as connection:
                await outcomes.record_outcome(
                    connection, await leases.acquire(connection, TaskId(waiting[0]["id"]), "w"), differ
                )
                status = await connection.scalar(text("SELECT status FROM renders WHERE id = :id"), {"id": render})
            assert status == ("failed" if again else "queued")


async def test_a_worker_frozen_with_a_render_locked_loses_the_lock(postgres_url: str) -> None:
    """Its connection is closed for it: whoever waits for the row goes on."""
    async with fresh_database(postgres_url) as database:
        _, (task, other, *_) = await add_tasks(database)
        frozen = database.service_transaction()
        connection = await frozen.__aenter__()
        assert await leases.acquire(connection, TaskId(task["id"]), "frozen")
        async with asyncio.timeout(PATIENCE_S):
            assert await acquire_lease(database, other)
        with pytest.raises(SQLAlchemyError):
            await connection.execute(text("SELECT 1"))
        with suppress(SQLAlchemyError):
            await frozen.__aexit__(None, None, None)
