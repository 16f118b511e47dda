"""The running service as a contender: request, queue, worker, fetch, encode, assembly and upload.

It waits for finished renders with LISTEN, because polling every 10 ms cost 3 % CPU.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import asyncpg
import httpx

from benchmarks.cases import Case
from benchmarks.objects import remove_bucket
from benchmarks.process_stats import Timing, measure_time, tree_cpu_seconds
from service import config
from service.client.errors import ReelmillError
from service.client.requests import json_or_raise
from service.commands.remote.connection import open_mill
from service.commands.supervision import ChildExitError
from service.commands.tokens import LOCAL_SCOPES, mint_local_token
from service.commands.up import LocalService, run_local_service
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
    """A connection to the benchmark's own database, in which a trigger notifies of finished renders from now on."""
    connection = await asyncpg.connect(url)
    await connection.execute(CREATE_TRIGGER)
    return connection


async def wait_until_ended(connection: "asyncpg.Connection[asyncpg.Record]", render_id: str, timeout_s: float) -> bool:
    """Wait up to `timeout_s`; whether the render has ended."""
    ended = asyncio.Event()

    def on_notification(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == render_id:
            ended.set()

    await connection.add_listener(CHANNEL, on_notification)
    try:
        if await connection.fetchval(SELECT_STATUS, render_id) in ("queued", "running"):
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await ended.wait()
    finally:
        await connection.remove_listener(CHANNEL, on_notification)
    return await connection.fetchval(SELECT_STATUS, render_id) not in ("queued", "running")


INHERITED_VARIABLES = ("REELMILL_SLOTS",)
CLEARED_PREFIXES = ("REELMILL_", "JWT_", "OLLAMA_", "DATABASE_URL", "MINIO_BUCKET", "MINIO_SOURCE")
RENDER_TIMEOUT_S = 300.0
SELECT_STAGE_SECONDS = """
    SELECT stage, sum(value::float8) AS seconds FROM segment_cache, jsonb_each_text(seconds) AS s(stage, value)
    GROUP BY stage ORDER BY stage
"""


class RenderError(Exception):
    """The render failed; the text is the reason in its status."""


# Raised if the service cannot be measured; commands print them as one line.
SERVICE_ERRORS = (RenderError, StartupError, ReelmillError, ChildExitError, httpx.HTTPError)


@contextmanager
def isolated_environment(home: Path, **variables: str) -> Iterator[Settings]:
    """Settings with a home, a database and a bucket of the benchmark's own; the user's data is not touched.

    Sets os.environ until the end of the block; `variables` are set as well."""
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
    """Run the service with these frames ingested. It logs to `log_file`, if given."""
    database = EmbeddedPostgres(settings.process.home)
    with run_local_service(settings, output=log_file) as running, asyncio.Runner() as runner:
        try:
            token = mint_local_token(settings, "benchmark", LOCAL_SCOPES, timedelta(hours=12))
            settings = replace(settings, client=ClientSettings(url=running.url, token=token))
            dataset = runner.run(_ingest(settings, frames_folder))
            connection = runner.run(connect_listener(database.start()))
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=running.url, headers=headers, timeout=60, trust_env=False) as client:
                yield Reelmill(client, dataset, settings, running, runner, connection)
            runner.run(connection.close())
        finally:
            running.stop()  # before the bucket is removed
            database.stop()
            remove_bucket(settings)


async def _ingest(settings: Settings, frames: Path) -> dict[str, Any]:
    async with open_mill(settings) as mill:
        dataset = await (await mill.experiments.get_or_create("benchmark")).datasets.get_or_create("frames")
        await dataset.upload(frames)
    return dataset.fields


@dataclass(frozen=True, slots=True)
class Reelmill:
    """The running service and the dataset to render. `connection` is used on `runner`'s event loop."""

    client: httpx.Client
    dataset: dict[str, Any]
    settings: Settings
    service: LocalService
    runner: asyncio.Runner
    connection: "asyncpg.Connection[asyncpg.Record]"

    def object_keys(self, names: list[str]) -> list[str]:
        """Object keys of the frames with these names."""
        return [f"{self.dataset['prefix']}{name}" for name in names]

    def render(self, case: Case, output: Path) -> Timing:
        """Time a render from submit until the API reports `succeeded`; then download the video. Raises RenderError."""
        self.delete_renders()
        with measure_time(lambda: tree_cpu_seconds([child.pid for child in self.service.children.values()])) as timing:
            job = self.submit(case)
            self.wait_for_end(job)
            status = json_or_raise(self.client.get(f"/api/videos/{job}"))
        if status["status"] != "succeeded":
            raise RenderError(f"the render {status['status']}: {(status['error'] or {}).get('reason', '')}")
        output.write_bytes(self.client.get(status["video_url"]).raise_for_status().content)
        rows = self.runner.run(self.connection.fetch(SELECT_STAGE_SECONDS))
        timing.stages = {row["stage"]: round(row["seconds"], 3) for row in rows}
        return timing

    def submit(self, case: Case) -> str:
        answer = self.client.post("/api/videos/generate", json=self.request_body(case))
        job = json_or_raise(answer)["job_id"]
        if answer.status_code != 202:
            raise RenderError("the video exists already: nothing would be measured")
        return str(job)

    def request_body(self, case: Case) -> dict[str, Any]:
        body = {
            "experiment_id": self.dataset["experiment_id"],
            "decimation_factor": 1,
            "fps": 30,
            "codec": case.codec,
            "quality": case.quality,
            "effort": case.effort,
        }
        return body if case.scale == 1 else body | {"scale": case.scale}

    def ingest_again(self, frames: Path) -> None:
        """Upload new files of the folder, and scan."""
        self.runner.run(_ingest(self.settings, frames))

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def slots(self) -> int:
        return self.settings.worker.slots

    @property
    def token(self) -> str:
        return str(self.settings.client.token)

    def pid(self, name: str) -> int:
        """Process id of the `api` or the `worker`."""
        return self.service.children[name].pid

    def count_running_tasks(self) -> int:
        return self._count_tasks("running")

    def count_unfinished_tasks(self) -> int:
        return self._count_tasks("running", "queued")

    def database_port(self) -> int:
        return int(self.runner.run(self.connection.fetchval("SELECT inet_server_port()")) or 0)

    def database_pid(self) -> int:
        """Process id of PostgreSQL: the parent of the process that serves this connection."""
        backend = self.runner.run(self.connection.fetchval("SELECT pg_backend_pid()"))
        return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])

    def count_busy_connections(self) -> int:
        """Database connections that are not idle, without this one."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
        return int(self.runner.run(self.connection.fetchval(count)))

    def _count_tasks(self, *states: str) -> int:
        count = "SELECT count(*) FROM tasks WHERE state = ANY($1)"
        return int(self.runner.run(self.connection.fetchval(count, states)))

    def wait_for_end(self, job: str, timeout_s: float = RENDER_TIMEOUT_S) -> None:
        """Wait until the render has ended. Raises RenderError after the timeout."""
        if not self.runner.run(wait_until_ended(self.connection, job, timeout_s)):
            raise RenderError(f"the render did not end within {timeout_s:.0f} s")

    def delete_renders(self) -> None:
        """Delete all renders and the segment cache, so that nothing can be reused."""
        for table in ("renders", "segment_cache"):
            self.runner.run(self.connection.execute(f"DELETE FROM {table}"))
