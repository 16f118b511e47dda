"""An application with rows and files that are worth asking for, and what a request has to say to reach them."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import update

from service.identity.claims import ADMIN, Scope
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token
from service.ids import Subject
from service.plan.facts import RenderLimits
from service.plan.render_plan import ObjectRef
from service.processes.app import create_app
from service.routers.catalog.signed_uploads import SIGNING_PURPOSE
from service.routers.http.dependencies import Resources
from service.routers.http.fields import EXAMPLE_DATASET_ID, EXAMPLE_EXPERIMENT_ID
from service.routers.http.signing import Signer
from service.routers.settings import CatalogSettings, HttpSettings
from service.routers.videos.models import EXAMPLE_JOB_ID
from service.store.catalog import presets
from service.store.catalog.datasets import DatasetRow
from service.store.database import load_signing_key
from service.store.objects.files import FileObjectStore
from service.store.schedules import schedules
from service.store.tables import datasets, experiments, frames, renders
from service.webhooks.settings import WebhookSettings
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.extremes.cases import PLACEHOLDER, Known
from tests.support.servers.databases import fresh_database

SECRET = SecretStr("a secret of at least thirty-two bytes")
NOWHERE = "0197a3c2-0000-7000-8000-000000000000"
MORNING = datetime(2026, 3, 1, 10, tzinfo=UTC)
# An ordered column of each type, by table, for cursors and conditions.
COLUMNS = {
    "frames": ("key", "size", "captured_at", "dataset_id"),
    "renders": ("created_at", "status", "options", "id"),
    "experiments": ("name", "visibility"),
    "datasets": ("formats", "prefix", "gaps"),
    "query_audit": ("elapsed_ms", "outcome"),
}
OPERATORS = ("eq", "lt", "like", "starts_with", "contains", "is_null")

VIDEO = b"v" * 1000


@dataclass(frozen=True)
class KnownApi:
    """The application, the token of its owner and operator, and what leads to its data."""

    app: FastAPI
    token: str
    known: Known


@asynccontextmanager
async def known_api(server: str, home: Path) -> AsyncIterator[KnownApi]:
    """Alice has an experiment with a scanned dataset, one for uploads, and a render that has succeeded."""
    objects = FileObjectStore(home / "objects", "reelmill")
    await objects.check()
    async with fresh_database(server) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 8)
            uploads = await add_dataset(connection, 0)
            captured = {f: MORNING + timedelta(seconds=f) for f in range(8)}
            for index, moment in captured.items():
                row = (frames.c.dataset_id == dataset.id) & (frames.c.index == index)
                facts = {"captured_at": moment, "format": "jpeg", "width": 64, "height": 48, "bits": 8}
                await connection.execute(update(frames).where(row).values(**facts))
            times = {"captured_from": MORNING, "captured_to": MORNING + timedelta(seconds=7)}
            await connection.execute(update(datasets).where(datasets.c.id == dataset.id).values(**times))
            await connection.execute(
                update(experiments)
                .where(experiments.c.id == dataset.experiment_id)
                .values(metadata={"pixel_size_um": 0.5})
            )
            render = await add_render(connection, dataset)
            preset = await presets.create(connection, Subject("alice"), {"name": "p", "options": {"fps": 5}})
            schedule = await schedules.create(connection, Subject("alice"), _schedule_of(dataset))
            signer = Signer(await load_signing_key(connection))
            grant = signer.sign(SIGNING_PURPOSE, [str(uploads.id), "a.jpg", 2, 4_000_000_000])
            video = f"renders/{render}/video.mp4"
            keys = {"video_key": video, "poster_key": video, "receipt_key": video}
            finished = {
                "status": "succeeded",
                "video_bytes": len(VIDEO),
                "video_sha256": hashlib.sha256(VIDEO).hexdigest(),
            }
            await connection.execute(update(renders).where(renders.c.id == render).values(**finished, **keys))
        await objects.put(ObjectRef("reelmill", video), VIDEO, "video/mp4")
        await objects.put(ObjectRef("reelmill", f"{dataset.prefix}f00001.jpg"), b"j" * 100, "image/jpeg")
        app = create_app(
            Resources(
                database,
                objects,
                TokenVerifier(IdentitySettings.model_construct(secret=SECRET)),
                "0.0.0",
                http=HttpSettings.model_construct(rate_limit="none", preview_wait_s=0),
                catalog=CatalogSettings.model_construct(max_upload_bytes=1_000_000),
                limits=RenderLimits.model_construct(max_queued=1_000_000, max_queued_total=10_000_000),
                webhooks=WebhookSettings.model_construct(secret=SecretStr("whsec_" + "a" * 44)),
            )
        )
        token = issue_token(SECRET, "alice", [scope for scope in get_args(Scope) if scope != ADMIN], timedelta(hours=3))
        ids = {
            "experiment": dataset.experiment_id,
            "dataset": dataset.id,
            "uploads": uploads.id,
            "render": render,
            "preset": preset["id"],
            "schedule": schedule["id"],
            "grant": grant,
        }
        yield KnownApi(app, token, _known({name: str(value) for name, value in ids.items()}))


def _schedule_of(dataset: DatasetRow) -> dict[str, Any]:
    request = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30}
    values = {"name": "s", "cron": "0 6 * * *", "zone": "UTC", "request": request}
    return values | {"experiment_id": dataset.experiment_id}


def _known(ids: dict[str, str]) -> Known:
    bare = {"experiment_id": ids["experiment"], "dataset_id": ids["dataset"], "decimation_factor": 1}
    generate = bare | {"fps": 30}
    templates: list[Any] = [
        generate | {"frames": {"from": PLACEHOLDER}},
        generate | {"frames": {"to": PLACEHOLDER}},
        generate | {"frames": {"start": PLACEHOLDER}},
        generate | {"frames": {"start": 2, "stop": PLACEHOLDER}},
        generate | {"overlay": {"text": PLACEHOLDER}},
        generate | {"overlay": {"scale_bar": {"length": PLACEHOLDER}}},
        generate | {"webhook_url": PLACEHOLDER},
        bare | {"duration_seconds": PLACEHOLDER},
        bare | {"timing": "captured", "speed": PLACEHOLDER},
    ]
    return Known(
        parameters={
            "experiment_id": ids["experiment"],
            "dataset_id": ids["dataset"],
            "job_id": ids["render"],
            "schedule_id": ids["schedule"],
            "delete_schedule schedule_id": NOWHERE,
            "index": "1",
            "number": "0",
            "name": "a.jpg",
            "kind": "jpg",
            "grant": ids["grant"],
            "preset_id": ids["preset"],
            "delete_video job_id": NOWHERE,
            "delete_preset preset_id": NOWHERE,
            **{
                f"{name} dataset_id": ids["uploads"]
                for name in ("scan_dataset", "sign_uploads", "upload_bundle", "upload_object", "upload_signed")
            },
        },
        bodies={
            "query_database": list(_queries()),
            "generate": [*templates, bare | {"preset": PLACEHOLDER}],
            "render_batch": [{"renders": [templates[0], bare]}],
            "make_preset": [{"name": "q", "options": {"tone": {"gamma": PLACEHOLDER}}}],
            "make_schedule": [
                {"name": "s", "request": generate, "cron": "0 6 * * *"} | {field: PLACEHOLDER}
                for field in ("name", "cron", "zone", "window")
            ],
        },
        replaced={
            EXAMPLE_EXPERIMENT_ID: ids["experiment"],
            EXAMPLE_DATASET_ID: ids["dataset"],
            EXAMPLE_JOB_ID: ids["render"],
            '"microscope"': '"reelmill"',
            "2026-03-01/camera-1/": f"frames/{ids['experiment']}/elsewhere/",
        },
        headers=dict.fromkeys(("delete_experiment", "delete_dataset"), ((b"if-match", b'"another"'),)),
    )


def _queries() -> list[Any]:
    """A condition of each operator and an order by each column."""
    queries: list[Any] = [{"table": "frames", "cursor": PLACEHOLDER}, *_long_queries()]
    for table, columns in COLUMNS.items():
        for column in columns:
            condition = {"column": column, "value": PLACEHOLDER}
            queries += [{"table": table, "filters": [condition | {"op": op}]} for op in OPERATORS]
            queries += [
                {"table": table, "filters": [condition | {"op": "in", "value": [PLACEHOLDER]}]},
                {"table": table, "filters": [condition | {"op": "between", "value": [PLACEHOLDER, PLACEHOLDER]}]},
                {"table": table, "filters": {column: PLACEHOLDER}},
            ]
    return queries


def _long_queries() -> list[Any]:
    """Well-formed documents of the longest size that is taken."""
    condition = {"column": "size", "op": "eq", "value": 1}
    listed = condition | {"op": "in", "value": [1] * 20_000}
    return [
        {"table": "frames", **part}
        for part in (
            {"filters": [condition] * 1700},
            {"filters": [{"all": []}] * 5900},
            {"filters": [{"not": {"any": []}}] * 3400},
            {"filters": [listed]},
            {"filters": [condition | {"op": "contains", "value": ["a"] * 15_000}]},
            {"filters": {f"c{number}": number for number in range(5000)}},
            {"columns": ["key"] * 10_000},
            {"group_by": ["key"] * 10_000},
            {"order_by": ["-key"] * 9000},
            {"aggregates": [{"function": "count"}] * 3000},
            {"columns": [""] * 20_000},
            {"order_by": [{}] * 20_000},
            {"filters": [{}] * 20_000},
        )
    ]


def encode_cursor(place: str) -> str:
    """A cursor with this JSON text in it."""
    return base64.urlsafe_b64encode(place.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def decode_cursor(cursor: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
