"""Workers compare a part at a time, tell what they find, and remove only few and old orphans."""

import asyncio
import os
import time
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from service.store.consistency import rounds
from service.store.consistency.comparison import LISTED_PREFIXES, SHARDS, Report
from service.store.consistency.rounds import (
    ORPHAN_AGE,
    Findings,
    compare_next_part,
    read_findings,
    record_comparison,
)
from service.store.objects.files import FileObjectStore
from service.store.objects.keys import render_object_key, segment_key
from tests.support.data.removable_objects import Store, make
from tests.support.processes.catalogue_api import catalogue_api

pytestmark = pytest.mark.anyio
ALL_PARTS = rounds.PARTS


async def age(store: Store, days: float) -> None:
    then = time.time() - days * ORPHAN_AGE.total_seconds()
    for file in store.objects.root.rglob("*"):
        if file.is_file():
            os.utime(file, (then, then))
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE segment_cache SET created_at = now() - interval '3 days'"))
        await connection.execute(text("UPDATE renders SET finished_at = now() - interval '3 days'"))


@pytest.fixture(autouse=True)
def short_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of few parts."""
    monkeypatch.setattr(rounds, "PARTS", (*LISTED_PREFIXES, "ab"))


async def whole_round(store: Store) -> Findings:
    for _ in rounds.PARTS:
        assert await compare_next_part(store.database, store.objects, 0) is not None
    return await findings(store)


async def findings(store: Store) -> Findings:
    async with store.database.service_transaction() as connection:
        return await read_findings(connection)


async def test_orphans_are_told_then_removed_when_they_are_few_and_old(store: Store) -> None:
    _, render = await make(store)
    await store.publish(render)
    orphans = {segment_key("ab" * 32), render_object_key(uuid4(), "video.mp4")}
    others = {render_object_key(render, f"{number}.jpg") for number in range(10)}
    await store.put(*orphans, *others, "somebody/else.txt")
    await age(store, 0.9)
    assert (await whole_round(store)).problems == {}, "it may still get its row"
    await age(store, 1.1)
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE consistency_checks SET finished = NULL"))
    before = await store.keys()
    assert (await whole_round(store)).problems == {"orphan_objects": 2}
    assert await store.count("removals") == 0, "the first round only tells"
    assert (await whole_round(store)).counts["removed_objects"] == 2
    await store.run()
    assert await store.keys() == before - orphans
    assert (await whole_round(store)).problems == {}


@pytest.mark.parametrize("told_before", [True, False])
async def test_many_orphans_are_left_to_a_person(store: Store, told_before: bool) -> None:
    """As with another bucket of this name: also if the last round was fine."""
    if not told_before:
        await whole_round(store)
    await store.put(*(render_object_key(uuid4(), "video.mp4") for _ in range(9)))
    await age(store, 2)
    assert (await whole_round(store)).problems == {"orphan_objects": 9}
    assert (await whole_round(store)).problems == {"orphan_objects": 9}
    assert await store.count("removals") == 0


def test_the_parts_are_all_that_is_compared() -> None:
    assert set(SHARDS) | set(LISTED_PREFIXES) == set(ALL_PARTS) and len(ALL_PARTS) == 258


async def test_what_is_gone_is_told_and_nothing_else(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, render = await make(store)
    keys = await store.publish(render)
    monkeypatch.setattr(rounds, "PARTS", (*LISTED_PREFIXES, keys[0][:2]))
    video = render_object_key(render, "video.mp4")
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE renders SET status = 'succeeded', video_key = :key"), {"key": video})
    await age(store, 2)
    (store.objects.root / "reelmill" / segment_key(keys[0])).unlink()
    found = (await whole_round(store)).problems
    assert found["lost_segments"] == 1 and found["lost_files"] > 0
    assert await store.count("segment_cache") == len(keys)
    await record_comparison(store.database, Report(lost_segments=keys[:1]), repaired=True)
    assert (await findings(store)).problems == {}, "a person has repaired it"


async def test_one_worker_at_a_time(store: Store) -> None:
    compared = await asyncio.gather(*(compare_next_part(store.database, store.objects) for _ in range(5)))
    assert sum(each is not None for each in compared) == 1


async def test_health_and_metrics_tell(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("root", "admin") as root:
        assert isinstance(api.objects, FileObjectStore)
        found = Report(objects=100, orphans={"renders/": 7}, orphan_objects=3, lost_segments=["a"])
        await record_comparison(api.database, found, repaired=False)
        check = (await root.get("/health")).json()["checks"]["consistency"]
        assert (check["status"], check["detail"]) == (
            "degraded",
            "3 objects belong to nothing, 1 cached segments are gone: see `reelmill fsck`",
        )
        metrics = (await root.get("/metrics")).text.splitlines()
        assert {"reelmill_orphan_objects 3.0", "reelmill_orphan_bytes 7.0"} < set(metrics)
        assert 'reelmill_lost_objects{kind="segments"} 1.0' in metrics
        await record_comparison(api.database, found, repaired=True)
        assert (await root.get("/health")).json()["checks"]["consistency"]["status"] == "ok"
