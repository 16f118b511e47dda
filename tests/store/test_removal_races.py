"""What only deleted rows used leaves the caches, and nothing else, whatever happens at the same moment."""

import asyncio
import os
import subprocess
import sys

import pytest
from sqlalchemy import text

from service.store import deletion
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.data.removable_objects import DAY_S, Store, files, make, newest_render
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_two_renders_that_are_deleted_at_once_leave_nothing(store: Store) -> None:
    """Each deletion still sees the other's render, which uses the same segments."""
    dataset, first = await make(store)
    async with store.database.service_transaction() as connection:
        second = await add_render(connection, dataset)
    await store.publish(first)
    await store.set_status("succeeded")
    deleting = store.database.service_transaction()
    connection = await deleting.__aenter__()
    plan = await deletion.lock_for_deletion(connection, "render", first, "reelmill")
    other = asyncio.create_task(store.delete("render", second))
    await asyncio.wait((other,), timeout=0.5)
    await deletion.execute_deletion(connection, plan, force=True)
    await deleting.__aexit__(None, None, None)
    await other
    await store.run()
    assert (await store.count("segment_cache"), await store.keys()) == (0, set())


@pytest.mark.parametrize("cached", [True, False])
async def test_a_render_that_is_submitted_during_the_deletion_keeps_its_segments(store: Store, cached: bool) -> None:
    """It has reused them, or is about to render them, but has not committed while the deletion and a round run."""
    dataset, render = await make(store)
    keys = await store.publish(render) if cached else []
    await store.start_tasks()
    submitting = store.database.service_transaction()
    connection = await submitting.__aenter__()
    await add_render(connection, dataset)
    await store.delete("render", render)
    await store.run()
    await submitting.__aexit__(None, None, None)
    if not cached:
        await store.wait(35)
        keys = await store.publish(await newest_render(store), cached=False)
        await store.run()
        assert await store.keys() == files(keys), "its worker is about to note them"
        await store.publish(await newest_render(store))
    for seconds in (35, 35, 3600, DAY_S):
        await store.wait(seconds)
        await store.run()
    assert await store.keys() == files(keys)
    assert (await store.count("segment_cache"), await store.count("removals")) == (len(keys), 0)


async def test_a_submission_that_fails_during_the_deletion_keeps_nothing(store: Store) -> None:
    dataset, render = await make(store)
    keys = await store.publish(render)
    submitting = store.database.service_transaction()
    connection = await submitting.__aenter__()
    await add_render(connection, dataset)
    await store.delete("render", render)
    await store.run()
    assert await store.keys("segments/") == files(keys), "its entries are locked"
    await connection.rollback()
    await submitting.__aexit__(None, None, None)
    await store.wait(35)
    await store.run()
    assert (await store.count("segment_cache"), await store.keys("segments/")) == (0, set())


async def test_a_render_between_deletion_and_removal_reuses(store: Store) -> None:
    dataset, render = await make(store)
    keys = await store.publish(render)
    await store.set_status("succeeded")
    await store.delete("render", render)
    async with store.database.service_transaction() as connection:
        await add_render(connection, dataset)
        reused = await connection.scalar(text("SELECT bool_and(reused) FROM segments"))
    await store.run()
    assert reused and await store.keys("segments/") == files(keys)


async def test_submissions_and_deletions_at_random_moments(store: Store) -> None:
    """In the end each cached segment has its objects and a render, and nothing else is left."""
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 120)

    async def submit_and_delete(number: int) -> None:
        async with store.database.service_transaction() as connection:
            render = await add_render(connection, dataset, step=1 + number % 2)
        await store.publish(render)
        if number % 5:
            await store.delete("render", render)

    async def rounds() -> None:
        for _ in range(10):
            await store.run()
            await store.wait(35)

    await asyncio.gather(*(submit_and_delete(number) for number in range(24)), rounds())
    await store.set_status("succeeded")
    for seconds in (35, 3600, DAY_S):
        await store.wait(seconds)
        await store.run()
    async with store.database.service_transaction() as connection:
        cached = list(await connection.scalars(text("SELECT content_key FROM segment_cache")))
        planned = set(await connection.scalars(text("SELECT content_key FROM segments")))
    assert set(cached) <= planned and await store.keys("segments/") >= files(cached)
    assert await store.count("removals") == 0


KILLED = """
import asyncio, os, pathlib, signal, sys
from service.store import removal
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.settings import DatabaseSettings

class Killed(FileObjectStore):
    count = 0
    async def delete(self, ref):
        await super().delete(ref)
        Killed.count += 1
        if Killed.count == 5:
            os.kill(os.getpid(), signal.SIGKILL)

objects = Killed(pathlib.Path(sys.argv[1]), "reelmill")
asyncio.run(removal.delete_due_objects(Database(os.environ["URL"], DatabaseSettings()), objects))
"""


async def test_a_process_that_is_killed_between_rows_and_objects_is_followed_up(store: Store) -> None:
    _, render = await make(store, 2000)
    await store.publish(render)
    await store.set_status("succeeded")
    await store.delete("render", render)
    before = await store.keys()
    command = [sys.executable, "-c", KILLED, str(store.objects.root)]
    ended = await asyncio.to_thread(subprocess.run, command, env=os.environ | {"URL": store.database.url}, check=False)
    left = await store.keys()
    assert ended.returncode == -9 and left and left < before
    async with asyncio.timeout(PATIENCE_S):
        while await store.keys():  # the server lets go of the dead process's locks when it notices
            await store.run()
    assert (await store.count("removals"), await store.count("segment_cache")) == (0, 0)
