"""`python -m benchmarks queue`: pick-up, CPU, rows and WAL of the queue under a large backlog and a large fleet."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks import machine, record
from benchmarks.process_stats import tree_cpu_seconds
from benchmarks.queue.backlog import Backlog, finish_many, write_backlog
from benchmarks.queue.fleet import PARALLEL, SLOTS, SimulatedFleet
from service.embedded.postgres import EmbeddedPostgres
from service.jobs import queue
from service.store import fleet as fleet_rows
from service.store.database import Database
from service.store.renders import invariants
from service.store.schema import migrate
from service.store.settings import DatabaseSettings

# Targets: p99 of a pick-up, and PostgreSQL's share of so many cores at the pace of the simulated fleet.
LIMIT_PICK_S, LIMIT_SHARE, CORES = 0.1, 0.3, 4
# What one worker does for all, and how often; each asks whether it is its turn: `service.worker.maintenance`.
MAINTENANCE: dict[str, tuple[float, Callable[[AsyncConnection], Awaitable[object]]]] = {
    "release of lost tasks": (2.0, queue.release_lost_tasks),
    "repair of renders": (10.0, invariants.repair),
    "pruning": (60.0, queue.prune),
}
REPETITIONS = 30
# What a fleet has done while the old transaction was open: of a million tasks, those of ten minutes.
LATER_SHARE, LATER_SAMPLE = 0.3, 300  # each takes half a second then
WRITTEN = text("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables")
FLUSH_STATISTICS = text("SELECT pg_stat_force_next_flush()")
WAL_BYTES = text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
DEAD = text("""
    SELECT relname, n_dead_tup, pg_total_relation_size(relid) AS bytes FROM pg_stat_user_tables
    WHERE relname IN ('tasks', 'renders', 'workers')
""")


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """The size of the backlog and of the fleet, and how many tasks are taken and finished for each measurement."""

    tasks: int
    workers: int
    sample: int
    results: Path


def measure(request: QueueRequest) -> int:
    """Run the command; the exit code is 1 if a target is missed."""
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as scratch:
        embedded = EmbeddedPostgres(Path(scratch))
        try:
            rows = asyncio.run(_measure(embedded.start(), Path(scratch), request))
        finally:
            embedded.stop()
    facts = machine.facts()
    path = record.write_rows(request.results, machine.label(facts["machine"]), rows, facts)
    print_table(Console(width=150), rows)
    print(f"rows: {path}")
    return int(any(row["pick_p99_ms"] > 1e3 * LIMIT_PICK_S or row["share"] > LIMIT_SHARE for row in rows))


async def _measure(url: str, home: Path, request: QueueRequest) -> list[dict[str, Any]]:
    await migrate(url)
    settings = DatabaseSettings.model_construct(url=url, pool_size=PARALLEL, timeout_s=60)
    database = Database(url, settings)
    try:
        started = time.perf_counter()
        async with database.service_transaction() as connection:
            backlog = await write_backlog(connection, request.tasks)
        await _vacuum(database)
        _say(f"{backlog.tasks:,} tasks of {backlog.renders:,} renders after {time.perf_counter() - started:.0f} s")
        fleet = SimulatedFleet(database, request.workers)
        async with fleet.listening():
            await fleet.fill()
            _say(f"{request.workers * SLOTS:,} slots are busy after {time.perf_counter() - started:.0f} s")
            postmaster = int((home / "postgres/data/postmaster.pid").read_text().split()[0])
            return await _measure_cases(_Bench(database, postmaster, backlog, request), fleet)
    finally:
        await database.close()


async def _measure_cases(bench: "_Bench", fleet: SimulatedFleet) -> list[dict[str, Any]]:
    sample = bench.request.sample
    rows = [await bench.measure(fleet, "backlog", sample)]
    async with _old_transaction(bench.database):
        rows.append(await bench.measure(fleet, "old transaction", sample))
        async with bench.database.service_transaction() as connection:
            count = await finish_many(connection, LATER_SHARE)
        _say(f"{count:,} tasks are finished, and none of their old rows can be removed")
        rows.append(await bench.measure(fleet, "old transaction, later", min(sample, LATER_SAMPLE)))
    return rows


@asynccontextmanager
async def _old_transaction(database: Database) -> AsyncIterator[None]:
    """Somebody has forgotten a transaction: from now on PostgreSQL can remove no dead row."""
    async with database.separate_connection() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        await connection.execute(text("SELECT count(*) FROM workers"))
        yield


async def _vacuum(database: Database) -> None:
    async with database.separate_connection() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("VACUUM ANALYZE"))
        await autocommit.execute(text("CHECKPOINT"))


@dataclass(slots=True)
class _Bench:
    database: Database
    postmaster: int
    backlog: Backlog
    request: QueueRequest

    async def measure(self, fleet: SimulatedFleet, case: str, sample: int) -> dict[str, Any]:
        """One row: the fleet at work on so many tasks, and what maintenance costs beside it."""
        before, started = await self._counters(), time.perf_counter()
        found = await fleet.run(sample)
        wall_s, after = time.perf_counter() - started, await self._counters()
        used = {name: after[name] - before[name] for name in before}
        tasks, tasks_per_s = len(found.finishes_s), len(found.finishes_s) / found.simulated_s
        await fleet.beat()
        maintenance = {name: await self._cost(work) for name, (_, work) in MAINTENANCE.items()}
        maintenance_cores = sum(maintenance[name] / interval for name, (interval, _) in MAINTENANCE.items())
        asking = await self._cost(lambda connection: fleet_rows.begin_round(connection, "measured", 60))
        maintenance_cores += sum(asking * self.request.workers / interval for interval, _ in MAINTENANCE.values())
        queue_cores = used["cpu_s"] / found.simulated_s
        sizes = await self._sizes()
        row = {
            "benchmark": "queue",
            "case": case,
            "tasks": self.backlog.tasks,
            "renders": self.backlog.renders,
            "owners": self.backlog.owners,
            "workers": self.request.workers,
            "slots": SLOTS,
            "sample": tasks,
            "tasks_per_s": round(tasks_per_s, 1),
            **_milliseconds("pick", found.picks_s),
            **_milliseconds("finish", found.finishes_s),
            "missed": found.missed,
            "cpu_ms_per_task": round(1e3 * used["cpu_s"] / tasks, 3),
            "maintenance_ms": {name: round(1e3 * cost, 2) for name, cost in maintenance.items()},
            "queue_cores": round(queue_cores, 3),
            "maintenance_cores": round(maintenance_cores, 3),
            "share": round((queue_cores + maintenance_cores) / CORES, 3),
            "rows_per_task": round(used["rows"] / tasks, 2),
            "wal_bytes_per_task": round(used["wal"] / tasks),
            "heartbeats": found.heartbeats,
            "dead_rows": {name: dead for name, (dead, _) in sizes.items()},
            "bytes": {name: size for name, (_, size) in sizes.items()},
            "wall_s": round(wall_s, 1),
            "load": round(os.getloadavg()[0], 1),
        }
        _say(json.dumps(row))
        return row

    async def _counters(self) -> dict[str, float]:
        async with self.database.service_transaction() as connection:
            await connection.execute(FLUSH_STATISTICS)
        await asyncio.sleep(1.2)  # every backend tells its counters once a second
        async with self.database.service_transaction() as connection:
            rows, wal = await connection.scalar(WRITTEN), await connection.scalar(WAL_BYTES)
        return {"rows": float(rows), "wal": float(wal), "cpu_s": tree_cpu_seconds([self.postmaster])}

    async def _cost(self, work: Callable[[AsyncConnection], Awaitable[object]]) -> float:
        """CPU seconds of PostgreSQL for one round."""
        before = tree_cpu_seconds([self.postmaster])
        for _ in range(REPETITIONS):
            async with self.database.service_transaction() as connection:
                await work(connection)
                await connection.rollback()  # nothing may change: simulated leases look old
        return (tree_cpu_seconds([self.postmaster]) - before) / REPETITIONS

    async def _sizes(self) -> dict[str, tuple[int, int]]:
        async with self.database.service_transaction() as connection:
            return {row.relname: (row.n_dead_tup, row.bytes) for row in await connection.execute(DEAD)}


def _milliseconds(name: str, seconds: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100)
    return {f"{name}_p50_ms": round(1e3 * cuts[49], 2), f"{name}_p99_ms": round(1e3 * cuts[98], 2)}


def print_table(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    table = Table("case", "pick-up p50, p99", "finish p99", "CPU a task", "of 4 cores", "maintenance", "rows", "WAL")
    for row in rows:
        table.add_row(
            row["case"],
            f"{row['pick_p50_ms']:.1f}, {row['pick_p99_ms']:.1f} ms",
            f"{row['finish_p99_ms']:.1f} ms",
            f"{row['cpu_ms_per_task']:.2f} ms",
            f"{row['share']:.0%} at {row['tasks_per_s']:.0f} tasks/s",
            f"{row['maintenance_cores']:.2f} cores",
            f"{row['rows_per_task']:.1f}",
            f"{row['wal_bytes_per_task']:,} bytes",
        )
    console.print(table)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
