"""What an owner stores is counted, and is never more than he may, whatever is asked for at the same moment."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from service.ids import Subject
from service.plan.facts import RenderLimits
from service.plan.render_plan import ObjectRef
from service.store import usage
from service.store.catalog.datasets import DatasetRow
from service.store.renders.submission import RenderSubmission, submit_render
from service.store.settings import StorageLimits
from service.store.usage import QuotaExceeded
from tests.support.data.database_rows import OPTIONS, add_dataset, render_plan
from tests.support.data.removable_objects import Store, make

pytestmark = pytest.mark.anyio
OWNER, LIMITS = Subject("alice"), RenderLimits.model_construct(max_queued=99)


async def upload_area(store: Store) -> DatasetRow:
    async with store.database.service_transaction() as connection:
        return replace(await add_dataset(connection, 10), owner=OWNER)


async def measure(store: Store, owner: str = "alice") -> usage.Usage:
    async with store.database.service_transaction() as connection:
        return await usage.measure_usage(connection, owner)


async def reserve(store: Store, dataset: DatasetRow, size: int, quota: int | None = None) -> int:
    async with store.database.service_transaction() as connection:
        return await usage.reserve_upload(connection, dataset, size, quota)


async def end(store: Store, dataset: DatasetRow, reservation: int, stored: int) -> None:
    async with store.database.service_transaction() as connection:
        await usage.end_reservation(connection, reservation, dataset.id, stored)


async def let_an_hour_pass(store: Store) -> None:
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE upload_reservations SET expires_at = expires_at - interval '2 hours'"))
        await connection.execute(text("UPDATE upload_areas SET recount_at = recount_at - interval '2 hours'"))


async def upload(store: Store, dataset: DatasetRow, name: str, size: int = 1000) -> None:
    await store.objects.put(ObjectRef("reelmill", dataset.prefix + name), bytes(size), "image/jpeg")


async def test_many_uploads_at_once_do_not_exceed_the_quota(store: Store) -> None:
    dataset = await upload_area(store)
    results = await asyncio.gather(*(reserve(store, dataset, 300, 1000) for _ in range(12)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, QuotaExceeded)]
    assert len(refused) == 9 and (await measure(store)).used == 900
    assert refused[0].extensions == {"used_bytes": 900, "allowed_bytes": 1000, "needed_bytes": 300}
    assert "900 of 1000 bytes" in refused[0].detail and "delete renders" in refused[0].detail


async def test_renders_and_uploads_share_the_quota(store: Store) -> None:
    dataset, render = await make(store)
    async with store.database.service_transaction() as connection:
        await connection.execute(text("""UPDATE renders SET estimate = '{"bytes": 700}'"""))
    assert await measure(store) == usage.Usage(0, 0, 0, 700), "what is accepted has its room"
    with pytest.raises(QuotaExceeded):
        await reserve(store, replace(dataset, owner=OWNER), 400, 1000)
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE renders SET status = 'succeeded', stored_bytes = 650"))
    assert await measure(store) == usage.Usage(0, 650, 0, 0)
    await store.delete("render", render)
    assert (await measure(store)).used == 0


async def test_submits_at_the_quota_are_refused_one_after_the_other(store: Store) -> None:
    """Each knows of the others' results, although none has committed when the others begin."""
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 200)

    async def submit(step: int, quota: int | None) -> int:
        plan = render_plan(dataset, step, OPTIONS)
        async with store.database.service_transaction() as connection:
            row = await submit_render(connection, RenderSubmission(plan, {}, OWNER, LIMITS, quota=quota))
        return int(row["estimate"]["bytes"])

    size = await submit(1, None)
    results = await asyncio.gather(*(submit(step, size + 1) for step in range(2, 8)), return_exceptions=True)
    accepted = [result for result in results if isinstance(result, int)]
    assert len(accepted) == 1 and len(results) == 6
    with pytest.raises(QuotaExceeded):
        await submit(9, size)
    assert await submit(1, size) == size, "what one has asked for already needs no more room"


async def test_a_render_counts_for_each_who_asked_for_it(store: Store) -> None:
    dataset, _ = await make(store)
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE renders SET status = 'succeeded', stored_bytes = 650"))
        await connection.execute(text("UPDATE experiments SET visibility = 'public'"))
    plan = render_plan(dataset, 1, OPTIONS)
    with pytest.raises(QuotaExceeded):
        async with store.database.service_transaction() as connection:
            await submit_render(connection, RenderSubmission(plan, {}, Subject("bob"), LIMITS, quota=649))
    async with store.database.service_transaction() as connection:
        await submit_render(connection, RenderSubmission(plan, {}, Subject("bob"), LIMITS, quota=650))
        totals = await usage.measure_totals(connection)
    assert (await measure(store)).results == (await measure(store, "bob")).results == totals["results"] == 650


async def test_what_is_stored_counts_in_the_end(store: Store) -> None:
    """An upload that broke off, one that was replaced, one whose process was killed, and one by a signed address."""
    dataset = await upload_area(store)
    await end(store, dataset, await reserve(store, dataset, 5000), 0)
    assert (await measure(store)).used == 0
    for _ in range(2):
        await upload(store, dataset, "a.jpg")
        await end(store, dataset, await reserve(store, dataset, 1000), 1000)
    await reserve(store, dataset, 4000)
    await upload(store, dataset, "b.jpg", 4000)
    assert await measure(store) == usage.Usage(2000, 0, 4000, 0)
    assert await usage.recount_uploads(store.database, store.objects) == 0, "the last may still arrive"
    await let_an_hour_pass(store)
    assert await usage.recount_uploads(store.database, store.objects) == 1
    assert await measure(store) == usage.Usage(5000, 0, 0, 0)
    assert await usage.recount_uploads(store.database, store.objects) == 0


async def test_a_count_during_an_upload_is_not_believed(store: Store) -> None:
    dataset = await upload_area(store)
    await end(store, dataset, await reserve(store, dataset, 7), 7)
    await let_an_hour_pass(store)
    listing, found = store.objects.list, []

    async def list_while_one_arrives(bucket: str, prefix: str):  # type: ignore[no-untyped-def]
        async for page in listing(bucket, prefix):
            yield page
        if not found:
            found.append(await reserve(store, dataset, 1000))
            await upload(store, dataset, "late.jpg")
            await end(store, dataset, found[0], 1000)

    store.objects.list = list_while_one_arrives  # type: ignore[method-assign]
    await usage.recount_uploads(store.database, store.objects)
    assert (await measure(store)).used == 1007
    await usage.recount_uploads(store.database, store.objects)
    assert (await measure(store)).used == 1000


async def test_uploads_count_until_they_are_deleted(store: Store) -> None:
    dataset = await upload_area(store)
    await upload(store, dataset, "a.jpg")
    await end(store, dataset, await reserve(store, dataset, 1000), 1000)
    await store.delete("dataset", dataset.id)
    assert (await measure(store)).used == 1000, "they were kept"
    async with store.database.service_transaction() as connection:
        (largest,) = await usage.list_largest(connection, "alice")
    assert (largest.kind, largest.bytes) == ("deleted_dataset", 1000)
    async with store.database.service_transaction() as connection:
        await usage.forget_uploads(connection, dataset.experiment_id)
    assert (await measure(store)).used == 0


async def test_the_area_of_a_deleted_dataset_without_files_goes(store: Store) -> None:
    dataset = await upload_area(store)
    await store.delete("dataset", dataset.id)
    await end(store, dataset, await reserve(store, dataset, 1000), 0)
    await let_an_hour_pass(store)
    await usage.recount_uploads(store.database, store.objects)
    assert await store.count("upload_areas") == 0


def test_quotas_are_read() -> None:
    limits = StorageLimits(owner_quota="500GB, alice=1.5 TiB,auth0|7=none")
    assert limits.quota_of("bob") == 500 * 10**9 and limits.quota_of("alice") == int(1.5 * 2**40)
    assert limits.quota_of("auth0|7") is None and StorageLimits(owner_quota="none").quota_of("bob") is None
    json = StorageLimits(owner_quota='{"*": "1kB", "CN=alice,O=lab": "2kB"}')
    assert (json.quota_of("bob"), json.quota_of("CN=alice,O=lab")) == (1000, 2000)
    assert StorageLimits(owner_quota="alice=1GB").quota_of("bob") is None


@pytest.mark.parametrize("value", ["5", "GB", "alice=", "1GB,2GB", "1XB", '{"*": 5}', "{", "[" * 9 + "{" * 100_000])
def test_quotas_that_cannot_be_meant_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"500GB|JSON|owner|text"):
        StorageLimits(owner_quota=value)
