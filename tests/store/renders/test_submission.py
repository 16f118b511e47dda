"""A submitted render is deduplicated, limited, or written with its segments and tasks."""

import asyncio
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import InvalidRequest, TooManyRequests
from service.ids import Subject
from service.plan.facts import RenderLimits
from service.plan.geometry import Bins, Crop
from service.plan.requests.planning import RenderPlan
from service.plan.tone import Tone
from service.store.cache.segments import CacheEntry, insert_entry, list_render_segments, recent_stats, set_result
from service.store.deletion import execute_deletion, lock_for_deletion
from service.store.renders.queries import load_segment_plan
from service.store.renders.submission import RenderSubmission, estimate_render, submit_render
from service.store.tables import experiments, renders, segments, tasks
from tests.support.data.database_rows import OPTIONS, add_dataset, render_plan
from tests.support.servers.databases import fresh_database, until_waiting

pytestmark = pytest.mark.anyio


def submission(plan: RenderPlan, **others: Any) -> RenderSubmission:
    return RenderSubmission(
        plan, {"priority": plan.priority}, Subject("alice"), RenderLimits.model_construct(max_queued=2), **others
    )


async def count(connection: AsyncConnection, table: Any) -> int:
    return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def test_the_same_video_is_rendered_once(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        plan = render_plan(await add_dataset(connection, 200), 1, OPTIONS)
        estimate = await estimate_render(connection, plan)
        assert await count(connection, renders) == 0, "an estimate writes nothing"
        row = await submit_render(connection, submission(plan))
        assert (row["render_key"], row["status"], row["frames_total"]) == (plan.key, "queued", 200)
        assert row["estimate"] == estimate.to_json()
        assert await count(connection, segments) == await count(connection, tasks) == 3
        again = await submit_render(connection, submission(replace(plan, priority=9)))
        assert (again["id"], await count(connection, renders)) == (row["id"], 1)


async def test_a_plan_that_was_stored_has_the_same_keys(postgres_url: str) -> None:
    """Workers may compute the key of a segment from its row: it must be the one that was looked up at submission."""
    full = replace(
        OPTIONS,
        tone=Tone(0.1, 4095.3),
        crop=Crop(2, 4, 32, 24, 64, 48),
        bins=Bins("mean", 3, 64, 48),
        fps=Fraction(30000, 1001),
        changed="hold",
        outputs=("keogram",),
    )
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        dataset = await add_dataset(connection, 200)
        for options in (OPTIONS, full):
            row = await submit_render(connection, submission(render_plan(dataset, 3 if options.bins else 1, options)))
            for number, segment in enumerate(await list_render_segments(connection, row["id"])):
                plan, key = await load_segment_plan(connection, row["id"], number)
                assert plan.content_key() == key == segment.content_key
                await set_result(connection, row["id"], number, "0" * 64, transient=True)
                assert await load_segment_plan(connection, row["id"], number) == (plan, None)


async def test_a_render_with_a_transient_segment_is_no_answer(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        plan = render_plan(await add_dataset(connection, 200), 1, OPTIONS)
        first = await submit_render(connection, replace(submission(plan), idempotency_key="k"))
        await set_result(connection, first["id"], 1, "0" * 64, transient=True)
        assert (await submit_render(connection, replace(submission(plan), idempotency_key="k")))["id"] == first["id"]
        again = await submit_render(connection, submission(plan))
        assert again["id"] != first["id"]
        assert (await submit_render(connection, submission(plan)))["id"] == again["id"]


async def test_a_video_with_a_transient_segment_is_no_answer(postgres_url: str) -> None:
    """The segment was rendered again since, for somebody who plays it; the video that is published is the old one."""
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        plan = render_plan(await add_dataset(connection, 200), 1, OPTIONS)
        first = await submit_render(connection, submission(plan))
        for transient, is_answer in ((1, False), (0, True)):
            published = update(renders).where(renders.c.id == first["id"])
            values = {"status": "succeeded", "summary": {"segments_transient": transient}}
            await connection.execute(published.values(**values))
            assert ((await submit_render(connection, submission(plan)))["id"] == first["id"]) is is_answer
            await connection.execute(delete(renders).where(renders.c.id != first["id"]))


async def test_a_render_that_is_deleted_meanwhile_is_no_answer_to_its_idempotency_key(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            plan = render_plan(await add_dataset(connection, 4), 1, OPTIONS)
            first = await submit_render(connection, submission(plan, idempotency_key="k"))

        async def submit_again() -> Any:
            async with database.service_transaction() as connection:
                return await submit_render(connection, submission(plan, idempotency_key="k"))

        async with database.service_transaction() as connection:
            await execute_deletion(
                connection, await lock_for_deletion(connection, "render", first["id"], "reelmill"), force=True
            )
            again = asyncio.create_task(submit_again())
            await until_waiting(database)
        assert (await again)["id"] != first["id"]


async def test_the_rate_of_one_effort_says_nothing_about_another(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        dataset, fast = await add_dataset(connection, 60), replace(OPTIONS, effort="fast")
        row = await submit_render(connection, submission(render_plan(dataset, 1, fast)))
        for segment in await list_render_segments(connection, row["id"]):
            key = segment.content_key
            await insert_entry(connection, CacheEntry(key, key, 5000, 60, "x264", {"encode": 600.0}))
        assert (await recent_stats(connection, fast))[0].seconds == {"encode": 600.0}
        assert await recent_stats(connection, OPTIONS) == []
        assert (await estimate_render(connection, render_plan(dataset, 1, OPTIONS))).seconds < 10


async def test_an_idempotency_key_goes_with_one_body(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        plan = render_plan(await add_dataset(connection, 4), 1, OPTIONS)
        first = submission(plan, idempotency_key="k")
        row = await submit_render(connection, first)
        assert (await submit_render(connection, first))["id"] == row["id"]
        with pytest.raises(InvalidRequest) as caught:
            await submit_render(connection, replace(first, document={"priority": 1}))
        assert caught.value.errors[0].header == "Idempotency-Key"


async def test_the_queue_of_one_owner_is_limited(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        dataset = await add_dataset(connection, 8)
        for step in (1, 2):
            await submit_render(connection, submission(render_plan(dataset, step, OPTIONS)))
        third = submission(render_plan(dataset, 3, OPTIONS))
        with pytest.raises(TooManyRequests):
            await submit_render(connection, third)
        await connection.execute(update(experiments).values(visibility="public"))
        await submit_render(connection, replace(third, owner=Subject("bob")))
