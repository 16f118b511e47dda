"""The application that the commands belong to, and how it is run."""

import asyncio
from typing import Annotated, Any

import typer

from service import __version__

app = typer.Typer(
    name="reelmill",
    help="Render camera frames and source videos in S3/MinIO into videos, as fast as the machine allows.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 65 done but some files were left out, 75 service unavailable, "
    "77 not permitted, 78 configuration, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def run_async(coroutine: Any) -> Any:
    """asyncio.run, on uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)
