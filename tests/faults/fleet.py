"""Three workers in network namespaces render, while one is cut off, one is frozen, and one is killed and comes back with a
clock that is an hour ahead. PostgreSQL, the API and a real S3 server are at the other end of their cables."""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from service.embedded.postgres import EmbeddedPostgres
from tests.faults.caller_faults import SHIFTED_CLOCK
from tests.faults.renders import Renders, find_wrong
from tests.faults.scene import query, remove_bucket
from tests.faults.storm import DONE_TWICE, LEFT
from tests.support.processes.api_process import api_process
from tests.support.processes.network_worker import NetworkWorker, network_worker
from tests.support.processes.up import RunningUp
from tests.support.servers.s3_server import s3_server

WORKERS, PAUSE_S = 3, 2.0
# Longer than a lease (6 s), and than a worker is silent before it counts as gone (15 s).
TIMES, TROUBLE_S, GATHER_TIMEOUT_S = 5, 18.0, 90.0
LIVE_WORKERS = "SELECT count(*) FROM workers WHERE heartbeat_at > now() - interval '5 seconds'"
ATTEMPTS = "SELECT code, count(*) FROM attempts GROUP BY code ORDER BY code"


class Fleet:
    """`run` until so many renders are accepted, then `report`."""

    def __init__(self, renders: Renders, environment: dict[str, str], folder: Path) -> None:
        self._renders, self._environment, self._folder = renders, environment, folder
        self._url, self._random = environment["DATABASE_URL"], renders.random
        self._stacks: dict[int, ExitStack] = {}
        self._workers: dict[int, NetworkWorker] = {}
        self._troubles, self._exits = 0, Counter[int]()

    def start(self, number: int, **settings: str) -> None:
        """Start the worker, or another one in its place."""
        self.end(number)
        stack = self._stacks[number] = ExitStack()
        log = self._folder / f"worker-{number}.log"
        self._workers[number] = stack.enter_context(network_worker(number, self._environment | settings, log))

    def end(self, number: int) -> None:
        self._stacks.pop(number, ExitStack()).close()

    def run(self, count: int) -> None:
        """All troubles at once, then none until all workers are there again; TIMES times while renders come in."""
        self._renders.prepare()
        while len(self._renders.accepted) < count:
            self._wait_for_workers(count)
            self._trouble(count)
            goal = min(count, len(self._renders.accepted) + count // TIMES)
            while len(self._renders.accepted) < goal:
                self._wait_for_workers(goal)
                self._submit_for(PAUSE_S, goal)

    def _wait_for_workers(self, count: int) -> None:
        """Those that have exited, as they could not begin without a database or with this clock, are started again."""
        deadline = time.monotonic() + GATHER_TIMEOUT_S
        while query(self._url, LIVE_WORKERS)[0][0] < WORKERS and time.monotonic() < deadline:
            for number, worker in self._workers.items():
                if (code := worker.process.poll()) is not None:
                    self._exits[code] += 1
                    self.start(number)
            self._submit_for(PAUSE_S, count)

    def _trouble(self, count: int) -> None:
        self._troubles += 1
        first, second, third = self._random.sample(range(1, WORKERS + 1), WORKERS)
        _say(f"worker {first} is cut off, {second} is frozen, {third} is killed; its clock is an hour ahead then")
        self._workers[first].pull_cable()
        self._workers[second].process.send_signal(signal.SIGSTOP)
        self._workers[third].process.kill()
        path = f"{SHIFTED_CLOCK}{os.pathsep}{self._environment.get('PYTHONPATH', '')}"
        self.start(third, CLOCK_SHIFT_S="3600", PYTHONPATH=path)
        self._submit_for(TROUBLE_S, count)
        self._workers[second].process.send_signal(signal.SIGCONT)
        self._workers[first].plug_cable()

    def _submit_for(self, seconds: float, count: int) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if len(self._renders.accepted) < count:
                self._renders.submit()
            time.sleep(0.3)

    def report(self) -> dict[str, Any]:
        """Once all have ended, beside those of a service that was left alone."""
        ended = self._renders.wait_for_all()
        videos = self._renders.read_videos(ended)
        running = [number for number, worker in self._workers.items() if worker.process.poll() is None]
        wrong = find_wrong(self._renders, videos, self._folder / "calm")
        return {
            "accepted": len(ended),
            "right": len(videos) - len(wrong),
            "wrong": wrong,
            "lost": {job: status["error"] for job, status in ended.items() if status["status"] != "succeeded"},
            "duplicates": [row[0] for row in query(self._url, DONE_TWICE)],
            "unfinished_tasks": query(self._url, LEFT)[0][0],
            "troubles": self._troubles,
            "workers_running": running,
            "workers_exited": dict(self._exits),
            "failed_attempts": dict(query(self._url, ATTEMPTS)),
        }


@contextmanager
def running_fleet(folder: Path, seed: int) -> Iterator[Fleet]:
    server = s3_server()
    with ExitStack() as stack:
        stack.callback(remove_bucket, server.settings())
        url = stack.enter_context(EmbeddedPostgres(folder / "home"))
        home = folder / "home"
        settings = server.environment() | {"REELMILL_RATE_LIMIT": "none"}
        api = stack.enter_context(api_process(url, home, **settings))
        client = stack.enter_context(api.client())
        renders = Renders(RunningUp(api.process, client, home, api.log), random.Random(seed))
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("REELMILL_", "MINIO_"))
        }
        environment |= settings | {"DATABASE_URL": url, "REELMILL_HOME": str(folder / "workers")}
        fleet = Fleet(renders, environment | {"REELMILL_SLOTS": "1", "REELMILL_FRAME_TIMEOUT": "10"}, folder)
        for number in range(1, WORKERS + 1):
            stack.callback(fleet.end, number)
            fleet.start(number)
        yield fleet


def run_fleet(folder: Path, count: int, seed: int) -> dict[str, Any]:
    with running_fleet(folder, seed) as fleet:
        fleet.run(count)
        return {"seed": seed} | fleet.report()


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
