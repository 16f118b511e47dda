"""Migrate the database in a separate process, so that serving processes never load Alembic."""

import asyncio
import sys

from sqlalchemy.exc import DBAPIError

from service.errors import StartupError
from service.jobs import queue
from service.store.schema import migrate


def main() -> None:
    """The URL comes on standard input, where nobody else can read it; a reason goes to standard error."""
    url = sys.stdin.readline().strip()
    try:
        asyncio.run(migrate(url, queue.install))
    except StartupError as refusal:
        sys.exit(_print_error(str(refusal)))
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", "")
        sys.exit(_print_error(f"DATABASE_URL: the schema could not be migrated ({state})"))


def _print_error(message: str) -> int:
    print(message, file=sys.stderr)
    return StartupError.exit_code


if __name__ == "__main__":
    main()
