"""An API with an unavailable database, an empty object store, and a few routes that fail."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from pydantic import BaseModel, Field, SecretStr
from sqlalchemy import text

from service.errors import GatewayTimeout, PreconditionFailed, ServiceUnavailable, TooManyRequests
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token
from service.processes.app import create_app
from service.routers.http.content_negotiation import require_json_acceptable
from service.routers.http.dependencies import CallerDep, DatabaseDep, Resources, require_scope
from service.routers.settings import HttpSettings
from service.store.database import Caller, Database
from service.store.objects.object_store import ObjectNotFound, ObjectStore, ObjectStoreError
from service.store.settings import DatabaseSettings
from tests.support.processes.catalogue_api import SCOPES, CatalogueApi, catalogue_api

SECRET = SecretStr("a secret of at least thirty-two bytes")
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:1/none"


class EmptyStore:
    """An object store that is available and empty."""

    bucket = "reelmill"

    async def check(self) -> None: ...

    async def free_bytes(self) -> int | None:
        return None

    async def close(self) -> None: ...


class Square(BaseModel):
    kind: Literal["square"]
    side: int = Field(ge=1)


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: int


class Drawing(BaseModel, extra="forbid"):
    name: str
    sizes: list[int] = []
    shape: Annotated[Square | Circle, Field(discriminator="kind")] | None = None
    either: int | UUID | None = None


router = APIRouter(prefix="/api/trials")


@router.post("/drawings")
async def draw(drawing: Drawing) -> str:
    return drawing.name


@router.get("/drawings")
async def list_drawings(limit: Annotated[int, Query(ge=1)] = 1, x_colour: Annotated[int, Header()] = 0) -> int:
    return limit + x_colour


@router.delete("/drawings/{number}", dependencies=[Depends(require_scope("catalog:write"))])
async def erase(number: int) -> int:
    return number


@router.get("/caller")
async def whoami(caller: CallerDep) -> dict[str, Any]:
    return dataclasses.asdict(caller)


@router.get("/fails/{how}")
async def fail(how: str, database: DatabaseDep) -> None:
    if how == "database":
        async with database.caller_transaction(Caller("lab")) as connection:  # type: ignore[arg-type]
            await connection.execute(text("SELECT 1"))
    password = "hunter2-local-variable"
    errors: dict[str, Exception] = {
        "bug": RuntimeError(f"secret path /etc/{len(password)}"),
        "file": FileNotFoundError("/etc/reelmill"),
        "store": ObjectStoreError("s3.internal refused"),
        "object": ObjectNotFound("s3://bucket/key"),
        "stale": PreconditionFailed("it was changed meanwhile"),
        "slow": GatewayTimeout("the model took longer than 30 s"),
        "plain": ServiceUnavailable("the model server is away"),
        "queue": TooManyRequests("the queue is full", headers={"Retry-After": "7"}),
    }
    raise errors[how]


@router.get("/database/{how}")
async def misuse(how: str, database: DatabaseDep) -> None:
    statements = {
        "slow": "SET LOCAL statement_timeout = 20",
        "sql": "SELECT 1/0",
        "cut": "SELECT pg_terminate_backend(pg_backend_pid())",
    }
    async with database.service_transaction() as connection:
        await connection.execute(text(statements[how]))
        await connection.execute(text("SELECT pg_sleep(5)"))


@router.post("/breaks")
async def break_after_reading(request: Request) -> None:
    await request.body()
    raise RuntimeError


formats = APIRouter(prefix="/api/formats", dependencies=[Depends(require_json_acceptable)])


@formats.get("")
async def list_formats() -> list[str]:
    return []


def resources(database_url: str = NOWHERE, objects: ObjectStore | None = None, **more: Any) -> Resources:
    objects = objects or EmptyStore()  # type: ignore[assignment]
    verifier = TokenVerifier(IdentitySettings.model_construct(secret=SECRET))
    database = Database(database_url, DatabaseSettings.model_construct())
    assert objects is not None
    return Resources(database, objects, verifier, "0.0.0", **{"http": HttpSettings.model_construct()} | more)


@pytest.fixture(autouse=True)
def _configured_logging(log_lines: Callable[[], Any]) -> None:
    """Configure logging as in production: the default of structlog takes seconds to format tracebacks."""


@pytest.fixture
def app() -> FastAPI:
    app = create_app(resources())
    app.include_router(router)
    app.include_router(formats)
    return app


@pytest.fixture
def token() -> Callable[..., dict[str, str]]:
    """Headers with a token that has these scopes."""
    return lambda *scopes: {"Authorization": f"Bearer {issue_token(SECRET, 'lab', scopes, timedelta(minutes=5))}"}


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture
async def known(client: httpx.AsyncClient, token: Callable[..., dict[str, str]]) -> httpx.AsyncClient:
    """A client with a token that has no scopes."""
    client.headers.update(token())
    return client


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    """An API with a real database and a folder of objects."""
    async with catalogue_api(postgres_url, tmp_path) as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", *SCOPES, "videos:read", "videos:render") as client:
        yield client
