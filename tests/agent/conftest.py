"""alice and bob own experiments, and a double of Ollama returns scripted answers."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.agent.agent import Agent, Reply
from service.agent.ollama_client import LanguageModels
from service.agent.settings import AgentSettings
from service.guard.guard import Guard
from service.guard.settings import GuardSettings
from service.ids import Subject, new_uuid
from service.store.database import Caller, Database
from service.store.tables import datasets, experiments
from tests.support.data.database_rows import add_dataset
from tests.support.doubles.ollama_double import OllamaDouble, ollama
from tests.support.servers.databases import fresh_database

CODE, FAST, WORDS = "coder:7b", "fast:1b", "talker:8b"
NAMES = {"default_model": WORDS, "code_model": CODE, "fast_model": FAST}
ALICE, BOB = Caller(Subject("alice")), Caller(Subject("bob"))


@dataclass(frozen=True)
class Lab:
    """A database with experiments, and agents that query it."""

    database: Database
    guard: Guard
    ids: dict[str, str]

    def agent(self, host: str | None, **settings: object) -> Agent:
        chosen = AgentSettings.model_construct(**(NAMES | settings))
        return Agent(self.guard, LanguageModels(host, chosen), chosen)

    async def ask(self, host: str | None, question: str, caller: Caller = ALICE, **settings: object) -> Reply:
        agent = self.agent(host, **settings)
        try:
            return await agent.ask(caller, question)
        finally:
            await agent.models.close()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def lab(postgres_url: str) -> AsyncIterator[Lab]:
    """alice owns fish (12 frames), Plant 3 (two datasets) and bare (none); bob owns secret and another fish."""
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            ids = await add_named(connection, "alice", "fish", 12)
            ids |= await add_named(connection, "alice", "Plant 3", 5)
            second = await add_dataset(connection, 20)
            where = datasets.c.id == second.id
            moved = {"experiment_id": ids["alice Plant 3"], "name": "late"}
            await connection.execute(update(datasets).where(where).values(**moved))
            await connection.execute(experiments.delete().where(experiments.c.id == second.experiment_id))
            bare = {"id": new_uuid(), "name": "bare", "owner": "alice"}
            await connection.execute(insert(experiments).values(**bare))
            ids |= await add_named(connection, "bob", "secret", 7)
            ids |= await add_named(connection, "bob", "fish", 3)
        yield Lab(database, Guard(database, GuardSettings.model_construct()), ids)


async def add_named(connection: AsyncConnection, owner: str, name: str, frames: int) -> dict[str, str]:
    """Add an experiment with the dataset "camera". Returns their ids by owner and name."""
    row = await add_dataset(connection, frames, owner)
    where = experiments.c.id == row.experiment_id
    await connection.execute(update(experiments).where(where).values(name=name))
    await connection.execute(update(datasets).where(datasets.c.id == row.id).values(name="camera"))
    return {f"{owner} {name}": str(row.experiment_id), f"{owner} {name} camera": str(row.id)}


@pytest.fixture
def models() -> Iterator[OllamaDouble]:
    with ollama(CODE, FAST, WORDS) as double:
        double.script(FAST, {"kind": "datasets"})
        yield double


@pytest.fixture
def rogue() -> Iterator[OllamaDouble]:
    """Models that ignore `format`, as cloud models do."""
    with ollama(CODE, FAST, WORDS, ignores_format=True) as double:
        double.script(FAST, {"kind": "datasets"})
        yield double
