"""Errors that a user can fix, as one line on stderr and a documented exit code."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from service.client.errors import ReelmillError, Refused, Unreachable
from service.errors import StartupError

FAILED, USAGE, LEFT_OUT, UNAVAILABLE, NOT_PERMITTED, CONFIGURATION = 1, 2, 65, 75, 77, StartupError.exit_code
# Exit codes for HTTP statuses of the service; any other error is FAILED.
EXIT_CODE_BY_STATUS = {401: NOT_PERMITTED, 403: NOT_PERMITTED, 429: UNAVAILABLE, 503: UNAVAILABLE}


@contextmanager
def startup_errors_to_exit_codes() -> Iterator[None]:
    """As `errors_to_exit_codes`, for processes that serve: they raise no other."""
    try:
        yield
    except StartupError as error:
        exit_with(str(error), CONFIGURATION)


@contextmanager
def errors_to_exit_codes() -> Iterator[None]:
    """Print errors the user can fix as one line on stderr and exit with the documented code."""
    from service.commands.supervision import ChildExitError

    try:
        with startup_errors_to_exit_codes():
            yield
    except Refused as error:
        exit_with(str(error), _code_of(error))
    except Unreachable as error:
        exit_with(str(error), UNAVAILABLE)
    except ReelmillError as error:
        exit_with(str(error), FAILED)
    except ChildExitError as error:
        exit_with(str(error), error.code)


@contextmanager
def client_errors_to_exit_codes() -> Iterator[None]:
    """Also the errors of local files, and of options that are not text. A closed pipe is left to `main`."""
    from service.commands.remote.render import OutputUnwritable

    with errors_to_exit_codes():
        try:
            yield
        except OutputUnwritable as error:
            exit_with(str(error), FAILED)
        except UnicodeEncodeError:
            exit_with("an option is not in UTF-8", USAGE)
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            exit_with(f"{place}{error.strerror or error}", FAILED)


@contextmanager
def refusals_to_exit_code() -> Iterator[Callable[[str, Refused], None]]:
    """Print what is refused of several things, each at once, and exit at the end: with their code if all refusals have
    the same."""
    codes = set[int]()

    def report_refusal(what: str, error: Refused) -> None:
        print_error(f"{what}: {error}")
        codes.add(_code_of(error))

    yield report_refusal
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else FAILED)


def _code_of(error: Refused) -> int:
    return USAGE if error.errors else EXIT_CODE_BY_STATUS.get(error.status, FAILED)


def exit_with(message: str, code: int) -> None:
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    typer.secho(f"reelmill: {message}", fg="red", err=True)
