"""`python -m benchmarks agent`: legal documents, right rows, refusals, seconds and tokens, by kind of question."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks import machine, record
from benchmarks.agent.catalogue import ALICE, write_catalogue
from benchmarks.agent.held_out import held_out
from benchmarks.agent.judgement import is_legal, is_right
from benchmarks.agent.questions import Question, questions
from service.agent.agent import Agent, Reply
from service.agent.ollama_client import LanguageModels
from service.agent.settings import AgentSettings
from service.embedded.postgres import EmbeddedPostgres
from service.errors import ReelmillError
from service.guard.guard import Guard
from service.guard.settings import GuardSettings
from service.ids import Subject
from service.store.database import Caller, Database
from service.store.schema import migrate
from service.store.settings import DatabaseSettings
from service.telemetry.metrics import AGENT_TOKENS

# Above 0 from the second seed on, or all would be the same.
TEMPERATURE = 0.8
CALLER = Caller(Subject(ALICE))


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """`host` None: only what needs no model. `seeds`: the first one is the agent as it is, at temperature 0."""

    host: str | None
    model: str
    seeds: int
    held_out: bool
    results: Path


def measure(request: AgentRequest) -> int:
    """Run the command; the exit code is 1 if a document was not legal or a question ended in an error."""
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as scratch, EmbeddedPostgres(Path(scratch)) as url:
        outcomes = asyncio.run(_ask_all(url, request))
    rows = list(_rows(request, outcomes))
    facts = machine.facts()
    path = record.write_rows(request.results, machine.label(facts["machine"]), rows, facts)
    print_table(Console(width=120), rows)
    for each in outcomes:
        if each.error is not None or not each.legal:
            print(f"{each.question.text!r}: {each.error or 'not legal'}")
    print(f"rows: {path}")
    return int(any(row["errors"] or row["legal"] < row["asked"] for row in rows))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question at one seed. `models`: how many models were asked."""

    question: Question
    seconds: float
    tokens: int
    legal: bool
    right: bool
    models: int
    error: str | None = None


@asynccontextmanager
async def open_catalogue(url: str) -> AsyncIterator[Guard]:
    """The seeded catalogue behind a guard."""
    await migrate(url)
    database = Database(url, DatabaseSettings())
    try:
        async with database.service_transaction() as connection:
            await write_catalogue(connection)
        yield Guard(database, GuardSettings.model_construct())
    finally:
        await database.close()


async def _ask_all(url: str, request: AgentRequest) -> list[Outcome]:
    async with open_catalogue(url) as guard:
        found = []
        for seed in range(request.seeds):
            for question in held_out() if request.held_out else questions():
                found.append(await ask(guard, request, question, seed))
                print(".", end="", flush=True)
        print()
        return found


async def ask(guard: Guard, request: AgentRequest, question: Question, seed: int = 0) -> Outcome:
    """Ask one question with a new client, as one request does."""
    model, temperature = request.model, TEMPERATURE if seed else 0.0
    settings = AgentSettings.model_construct(
        default_model=model,
        code_model=model,
        fast_model=model,
        temperature=temperature,
        seed=seed,
        timeout_s=600.0,
        step_timeout_s=300.0,
    )
    models = LanguageModels(request.host, settings)
    started, tokens = time.perf_counter(), _tokens()
    reply: Reply | None = None
    error: str | None = None
    try:
        reply = await Agent(guard, models, settings).ask(CALLER, question.text)
    except ReelmillError as refused:
        error = f"{refused.slug}: {refused.detail}" if request.host else None  # without models it is no fault
    finally:
        await models.close()
    seconds, used = time.perf_counter() - started, _tokens() - tokens
    if reply is None:
        return Outcome(question, seconds, used, error is None, right=False, models=0, error=error)
    right = await is_right(guard, CALLER, question, reply)
    return Outcome(question, seconds, used, is_legal(reply), right, len(reply.models))


def _tokens() -> int:
    """That all models of this process have read and written so far."""
    samples = [sample for metric in AGENT_TOKENS.collect() for sample in metric.samples]
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


def _rows(request: AgentRequest, outcomes: list[Outcome]) -> Iterator[dict[str, Any]]:
    kinds = list(dict.fromkeys(outcome.question.kind for outcome in outcomes))
    for kind in [*kinds, "all"]:
        of_kind = [outcome for outcome in outcomes if kind in (outcome.question.kind, "all")]
        yield {
            "benchmark": "agent",
            "model": request.model if request.host else None,
            "kind": kind,
            "held_out": request.held_out,
            "seeds": request.seeds,
            "asked": len(of_kind),
            "legal": sum(outcome.legal for outcome in of_kind),
            "right": sum(outcome.right for outcome in of_kind),
            "without_models": sum(outcome.models == 0 and outcome.right for outcome in of_kind),
            "errors": sum(outcome.error is not None for outcome in of_kind),
            "seconds": round(sum(outcome.seconds for outcome in of_kind) / len(of_kind), 2),
            "tokens": round(sum(outcome.tokens for outcome in of_kind) / len(of_kind)),
        }


def print_table(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("kind", "asked", "legal", "right", "right without a model", "errors", "seconds each", "tokens each")
    for row in rows:
        columns = ("kind", "asked", "legal", "right", "without_models", "errors", "seconds", "tokens")
        table.add_row(*(Text(str(row[name])) for name in columns))
    console.print(table)
