"""The entry point of the command line."""

import io
import os
import sys

import typer

from service.cli import (  # noqa: F401 (they add their commands)
    catalogue,
    fleet,
    processes,
    questions,
    renders,
    schedules,
    storage,
)
from service.cli.app import app
from service.cli.exit_codes import FAILED, USAGE, print_error


def main() -> None:
    """Run a command. Errors in its words are one line, and a reader that closes our output ends it quietly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may have any bytes
    name = "reelmill" if not sys.argv[0].endswith("__main__.py") else "python -m service"
    try:
        code = app(prog_name=name, standalone_mode=len(sys.argv) == 1)  # alone, it prints the help
        sys.stdout.flush()
    except typer.TyperException as error:
        print_error(error.format_message())
        code = USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
        code = FAILED
    sys.exit(code)
