"""Commands that ask the database."""

from typing import Annotated

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import client_errors_to_exit_codes
from service.cli.options import AsJson


@app.command()
def query(
    table: Annotated[str | None, typer.Argument(help="table to ask; without one, the tables are listed")] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Argument(help="column=value, or column__operator=value as in frame_count__gt=100", metavar="CONDITION"),
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="only these columns")] = None,
    order_by: Annotated[list[str] | None, typer.Option(help="column to sort by; -column is descending")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many rows; without, all", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a table of the database for the rows for which all conditions hold, with the rights of the caller."""
    from service.commands.remote.questions import list_tables
    from service.commands.remote.questions import query as run

    with client_errors_to_exit_codes():
        if table is None:
            run_async(list_tables(config.load(), as_json=as_json))
            return
        parts = {"select": column, "order_by": order_by, "limit": limit}
        run_async(run(config.load(), table, conditions or [], parts, as_json=as_json))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="a question in plain words")],
    as_json: AsJson = False,
) -> None:
    """Ask in plain words. Renders are suggested, never started."""
    from service.commands.remote.questions import ask as run

    with client_errors_to_exit_codes():
        run_async(run(config.load(), question, as_json=as_json))
