"""The running service as a contender: request, queue, worker, fetch, encode, assembly and upload. LISTEN reports
finished renders, because polling every 10 ms cost 3 % CPU.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import asyncpg
import httpx

from benchmarks.cases import Case
from benchmarks.objects import remove_bucket
from benchmarks.process_stats import Timing, measure_time, tree_cpu_seconds
from service import config
from service.commands.api_client import CLIENT_SCOPES, ApiError, json_or_raise, mint_local_token, open_client
from service.commands.ingest import ingest
from service.commands.up import ChildExitError, LocalService, run_local_service
from service.config import ClientSettings, Settings
from service.embedded.postgres import EmbeddedPostgres
from service.errors import StartupError

CHANNEL = "bench_ended"
CREATE_TRIGGER = f"""
    CREATE OR REPLACE FUNCTION {CHANNEL}() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('{CHANNEL}', NEW.id::text); RETURN NULL; END $$;
    CREATE OR REPLACE TRIGGER {CHANNEL} AFTER UPDATE OF status ON renders FOR EACH ROW
        WHEN (NEW.status NOT IN ('queued', 'running')) EXECUTE FUNCTION {CHANNEL}();
"""
SELECT_STATUS = "SELECT status FROM renders WHERE id = $1::uuid"


async def connect_listener(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection to the benchmark's own database, which tells from now on."""
    connection = await asyncpg.connect(url)
    await connection.execute(CREATE_TRIGGER)
    return connection


async def wait_until_ended(connection: "asyncpg.Connection[asyncpg.Record]", render_id: str, timeout_s: float) -> bool:
    """Whether the render has ended before the time was up."""
    ended = asyncio.Event()

    def heard(*told: object) -> None:
        if told[-1] == render_id:
            ended.set()

    await connection.add_listener(CHANNEL, heard)
    try:
        if await connection.fetchval(SELECT_STATUS, render_id) in ("queued", "running"):
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout_s)
    finally:
        await connection.remove_listener(CHANNEL, heard)
    return await connection.fetchval(SELECT_STATUS, render_id) not in ("queued", "running")


INHERITED_VARIABLES = ("REELMILL_SLOTS",)
CLEARED_PREFIXES = ("REELMILL_", "JWT_", "OLLAMA_", "DATABASE_URL", "MINIO_BUCKET", "MINIO_SOURCE_BUCKETS")
RENDER_TIMEOUT_S = 300.0
SELECT_STAGE_SECONDS = """
    SELECT stage, sum(value::float8) AS seconds FROM segment_cache, jsonb_each_text(seconds) AS s(stage, value)
    GROUP BY stage ORDER BY stage
"""


class RenderError(Exception):
    """Reelmill did not make the video; the text is the status's reason."""


# What a service that cannot be measured raises; each is told in one line.
SERVICE_ERRORS = (RenderError, StartupError, ApiError, ChildExitError, httpx.HTTPError)


@contextmanager
def isolated_environment(home: Path, **variables: str) -> Iterator[Settings]:
    """A home, a database and a bucket of the benchmark's own: nothing of the user's is touched, and it is removed.
    `more` are further variables."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(CLEARED_PREFIXES) and name not in INHERITED_VARIABLES]:
        del os.environ[name]
    bucket = f"reelmill-bench-{secrets.token_hex(4)}"
    own = {"REELMILL_HOME": str(home), "MINIO_BUCKET": bucket, "REELMILL_LOG_LEVEL": "WARNING"}
    os.environ |= own | {"HOST": "127.0.0.1", "PORT": "0"} | variables
    try:
        yield config.load()
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def running_service(settings: Settings, frames_folder: Path, log_file: IO[bytes] | None = None) -> Iterator["Reelmill"]:
    """The service on this machine with these frames ingested, until the end of the block; `log`: where it logs."""
    database = EmbeddedPostgres(settings.process.home)
    with run_local_service(settings, output=log_file) as running, asyncio.Runner() as runner:
        try:
            token = mint_local_token(settings, "benchmark", CLIENT_SCOPES, timedelta(hours=12))
            known = replace(settings, client=ClientSettings(url=running.url, token=token))
            dataset = runner.run(_ingest(known, frames_folder))
            connection = runner.run(connect_listener(database.start()))
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=running.url, headers=headers, timeout=60, trust_env=False) as client:
                yield Reelmill(client, dataset, (runner, connection), (running, known))
            runner.run(connection.close())
        finally:
            running.stop()  # nobody may write into the bucket any more
            database.stop()
            remove_bucket(settings)


async def _ingest(settings: Settings, frames: Path) -> dict[str, Any]:
    async with open_client(settings) as client:
        result = await ingest(client, frames, ("benchmark", "frames", "frames"), lambda *_: None)
    return result.dataset


class Reelmill:
    """The running service and the dataset to render."""

    def __init__(
        self,
        client: httpx.Client,
        dataset: dict[str, Any],
        database: "tuple[asyncio.Runner, asyncpg.Connection[asyncpg.Record]]",
        started: tuple[LocalService, Settings],
    ) -> None:
        self.client, self.dataset = client, dataset
        self._running, self._known = started
        self._runner, self._connection = database

    def object_keys(self, names: list[str]) -> list[str]:
        """Object keys of the frames with these names."""
        return [f"{self.dataset['prefix']}{name}" for name in names]

    def render(self, case: Case, output: Path) -> Timing:
        """Submit, wait until the API says `succeeded`; the download comes after the clock has stopped."""
        self.delete_renders()
        with measure_time(self._cpu_seconds) as timing:
            job = self.submit(case)
            self.wait_for_end(job)
            status = json_or_raise(self.client.get(f"/api/videos/{job}"))
        if status["status"] != "succeeded":
            raise RenderError(f"the render {status['status']}: {(status['error'] or {}).get('reason', '')}")
        output.write_bytes(self.client.get(status["video_url"]).raise_for_status().content)
        timing.stages = self._stage_seconds()
        return timing

    def submit(self, case: Case) -> str:
        answer = self.client.post("/api/videos/generate", json=self.request_body(case))
        job = json_or_raise(answer)["job_id"]
        if answer.status_code != 202:
            raise RenderError("the video was there before: nothing would be measured")
        return str(job)

    def request_body(self, case: Case) -> dict[str, Any]:
        """The request of this case."""
        body = {"experiment_id": self.dataset["experiment_id"], "decimation_factor": 1, "fps": 30}
        return (
            body | {"codec": case.codec, "quality": case.quality} | ({} if case.scale == 1 else {"scale": case.scale})
        )

    def ingest_again(self, frames: Path) -> None:
        """Upload what is new in the folder, and scan."""
        self._runner.run(_ingest(self._known, frames))

    @property
    def url(self) -> str:
        return self._running.url

    @property
    def slots(self) -> int:
        return self._known.worker.slots

    @property
    def token(self) -> str:
        return str(self._known.client.token)

    def pid(self, name: str) -> int:
        """Of the process `api` or `worker`."""
        return self._running.children[name].pid

    def count_running_tasks(self) -> int:
        return self._count_tasks("running")

    def count_unfinished_tasks(self) -> int:
        return self._count_tasks("running", "queued")

    def database_port(self) -> int:
        return int(self._runner.run(self._connection.fetchval("SELECT inet_server_port()")) or 0)

    def count_busy_connections(self) -> int:
        """To the service's database, besides this one."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
        return int(self._runner.run(self._connection.fetchval(count)))

    def _count_tasks(self, *states: str) -> int:
        count = "SELECT count(*) FROM tasks WHERE state = ANY($1)"
        return int(self._runner.run(self._connection.fetchval(count, states)))

    def wait_for_end(self, job: str) -> None:
        """Until it has ended. Asking the API again and again would cost a tenth of the machine."""
        if not self._runner.run(wait_until_ended(self._connection, job, RENDER_TIMEOUT_S)):
            raise RenderError(f"the render did not end within {RENDER_TIMEOUT_S:.0f} s")

    def delete_renders(self) -> None:
        """No render and no segment is known any more: nothing can be reused."""
        for table in ("renders", "segment_cache"):
            self._runner.run(self._connection.execute(f"DELETE FROM {table}"))

    def _stage_seconds(self) -> dict[str, float]:
        """Seconds per pipeline stage of the last render, over all slots."""
        rows = self._runner.run(self._connection.fetch(SELECT_STAGE_SECONDS))
        return {row["stage"]: round(row["seconds"], 3) for row in rows}

    def _cpu_seconds(self) -> float:
        return tree_cpu_seconds([child.pid for child in self._running.children.values()])
