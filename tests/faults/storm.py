"""Submits renders, injects faults meanwhile, waits after each until the service works again, and reports what became of
everything."""

import asyncio
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from service.store.consistency.comparison import Report, check_consistency
from service.store.removal import delete_due_objects
from tests.faults.caller_faults import caller_faults
from tests.faults.database_faults import database_faults
from tests.faults.process_faults import process_faults
from tests.faults.renders import FRAMES, Renders, find_wrong
from tests.faults.scene import Faults, Scene
from tests.faults.store_faults import store_faults

# Nothing is at work when the bucket is compared with the database.
NO_GRACE = timedelta(0)
RECOVERY_S, PROBE_TIMEOUT_S = 90.0, 3.0
PAUSE_S = (0.1, 0.8)
# What must be zero, or nothing, in a report.
GOALS = ("lost", "wrong", "duplicates", "orphans", "foreign", "unfinished_tasks", "not_recovered")
# What a fault is about is away at this moment; it does not count.
AWAY = (IndexError, OSError, httpx.HTTPError, ValueError, TimeoutError)
LEFT = "SELECT count(*) FROM tasks WHERE state IN ('queued', 'running') AND kind <> 'webhook'"
DONE_TWICE = """
    SELECT render_id::text || ' ' || kind || ' ' || coalesce(number::text, '') FROM tasks
    WHERE state = 'succeeded' AND render_id IS NOT NULL GROUP BY render_id, kind, number HAVING count(*) > 1
"""


class Storm:
    """`run` for some time, then `report`."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._up, self._random = scene, scene.up, scene.random
        self.renders = Renders(scene.up, scene.random)
        self._injected, self._away = Counter[str](), Counter[str]()
        self._recovered: list[tuple[float, str]] = []
        self._not_recovered = list[str]()
        self._probes = 0

    def run(self, seconds: float, least: int = 0) -> None:
        """Every kind of fault once in random order, then again in another, and so on; at least so many faults."""
        self.renders.prepare()
        faults, waiting = self.faults(), list[str]()
        end = time.monotonic() + seconds
        while time.monotonic() < end or sum(self._injected.values()) < least:
            waiting = waiting or self._random.sample(sorted(faults), len(faults))
            self.renders.submit()
            self._inject(waiting.pop(), faults)
            time.sleep(self._random.uniform(*PAUSE_S))

    def faults(self) -> Faults:
        scene = self._scene
        more = caller_faults(scene, self.renders)
        return process_faults(scene) | database_faults(scene) | store_faults(scene) | more

    def _inject(self, name: str, faults: Faults) -> None:
        try:
            faults[name]()
        except AWAY:
            self._away[name] += 1
            return
        self._injected[name] += 1
        started = time.monotonic()
        try:
            self._up.wait(lambda: self._up.client.get("/health", timeout=PROBE_TIMEOUT_S), _is_whole, RECOVERY_S)
            self._wait_for_a_slot(started + RECOVERY_S)
        except TimeoutError as error:
            self._not_recovered.append(name)
            print(error, file=sys.stderr)
        self._recovered.append((time.monotonic() - started, name))
        print(f"{self._recovered[-1][0]:6.1f} s after: {name}", file=sys.stderr, flush=True)

    def _wait_for_a_slot(self, deadline: float) -> None:
        """Until a preview that nobody has asked for before is made, from fetching its frame to publishing it."""
        self._probes += 1
        width, frame = 16 + self._probes // len(FRAMES), self._probes % len(FRAMES)
        path = f"/api/datasets/{self.renders.dataset['id']}/frames/{frame}/image"
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if self._up.client.get(path, params={"width": width}, timeout=PROBE_TIMEOUT_S).status_code == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError(self._up.log.read_text()[-4000:])

    def report(self, folder: Path) -> dict[str, Any]:
        """Wait until everything has ended, and compare each video with that of another service in `folder`."""
        ended = self.renders.wait_for_all()
        self._up.wait(lambda: self._up.client.get("/health", timeout=PROBE_TIMEOUT_S), _is_whole, RECOVERY_S)
        videos = self.renders.read_videos(ended)
        wrong = find_wrong(self.renders, videos, folder)
        unwanted = self.renders.cancelled
        lost = [job for job, status in ended.items() if status["status"] != "succeeded" and job not in unwanted]
        twice = [row[0] for row in self._scene.query(DONE_TWICE)]
        consistency = asyncio.run(self._check_consistency())
        recovery = sorted(self._recovered) or [(0.0, "")]
        return {
            "kinds": len(self._injected),
            "injected": sum(self._injected.values()),
            "accepted": len(self.renders.accepted),
            "right": len(videos) - len(wrong),
            "wrong": wrong,
            "lost": {job: ended[job]["error"] for job in lost},
            "duplicates": self.renders.duplicates + twice,
            "orphans": sorted(consistency.orphans),
            "foreign": consistency.foreign,
            "not_recovered": self._not_recovered,
            "unfinished_tasks": self._scene.query(LEFT)[0][0],
            "cancelled": sum(status["status"] == "cancelled" for status in ended.values()),
            "deleted": len(self.renders.deleted),
            "refused": dict(self.renders.refused),
            "objects": consistency.objects,
            "recovery_p50_s": round(recovery[len(recovery) // 2][0], 1),
            "recovery_p99_s": round(recovery[int(0.99 * (len(recovery) - 1))][0], 1),
            "slowest": [f"{seconds:.1f} s: {name}" for seconds, name in recovery[:-9:-1]],
            "by_kind": dict(sorted(self._injected.items())),
            "could_not_be_injected": dict(self._away),
        } | ({"s3_requests": dict(self._scene.proxy.counts)} if self._scene.proxy else {})

    async def _check_consistency(self) -> Report:
        """Once what is due to be removed is removed."""
        async with self._scene.shared_state() as (database, objects):
            await delete_due_objects(database, objects)
            return await check_consistency(database, objects, grace=NO_GRACE)


def _is_whole(health: dict[str, Any]) -> bool:
    checks = health.get("checks", {})
    return health.get("status") != "unhealthy" and checks.get("workers", {}).get("status") == "ok"
