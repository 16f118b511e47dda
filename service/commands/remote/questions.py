"""`reelmill query` and `ask`: questions to the database."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from service.client.queries import OPERATORS, AsyncQuery
from service.commands.remote.connection import open_mill
from service.commands.remote.output import print_json, print_rows
from service.commands.remote.values import parse_value
from service.config import Settings

RENDER_OPTIONS = {"decimation_factor": "--decimation", "fps": "--fps", "effort": "--effort", "preset": "--preset"}


async def list_tables(settings: Settings, *, as_json: bool) -> None:
    async with open_mill(settings) as mill:
        tables = await mill.tables()
    rows = tables if as_json else [table | {"columns": _names(table)} for table in tables]
    print_rows(rows, ("name", "columns"), as_json=as_json, none="there are no tables")


async def query(
    settings: Settings, table: str, conditions: Sequence[str], parts: dict[str, Any], *, as_json: bool
) -> None:
    """Print the rows for which all conditions hold. `parts`: `select`, `order_by`, `limit`."""
    where = list(map(parse_condition, conditions))
    async with open_mill(settings) as mill:
        rows = await _build(mill.query(table), where, parts).rows()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print_rows(rows, columns, as_json=as_json, none="there are no such rows")


def _build(question: AsyncQuery, where: Iterable[tuple[str, Any]], parts: dict[str, Any]) -> AsyncQuery:
    for name, value in where:  # one by one: two may be of the same column and operator
        question = question.where(**{name: value})
    if parts.get("select"):
        question = question.select(*parts["select"])
    if parts.get("order_by"):
        question = question.order_by(*parts["order_by"])
    return question.limit(parts["limit"]) if parts.get("limit") else question


async def ask(settings: Settings, question: str, *, as_json: bool) -> None:
    async with open_mill(settings) as mill:
        found = await mill.ask(question)
    if as_json:
        print_json(found.fields)
        return
    print(found.answer)
    if found.suggested_render:
        print(f"to render it: {render_command(found.suggested_render)}")


def render_command(request: Mapping[str, Any]) -> str:
    """The `reelmill render` that asks for the same."""
    fields = dict(request)
    experiment = fields.pop("experiment_id", None)
    words = ["reelmill", "render", "--experiment", str(fields.pop("dataset_id", None) or experiment)]
    for name, option in RENDER_OPTIONS.items():
        if (value := fields.pop(name, None)) is not None:
            words += (option, f"{value:.15g}" if isinstance(value, float) else str(value))
    for name, value in fields.items():
        words += ("--option", f"{name}={json.dumps(value, ensure_ascii=False)}")
    return shlex.join(words)


def parse_condition(text: str) -> tuple[str, Any]:
    """`column=value` or `column__operator=value`; a value that is JSON is taken as JSON. Raises typer.BadParameter."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text}: write column=value, as in frame_count__gt=100", param_hint="CONDITION")
    operator = name.partition("__")[2]
    if operator and operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise typer.BadParameter(f"{text}: there is no operator {operator}, only {known}", param_hint="CONDITION")
    return name, parse_value(name, value, "CONDITION")


def _names(table: dict[str, Any]) -> str:
    return ", ".join(column["name"] for column in table["columns"])
