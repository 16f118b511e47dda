"""The newest schema, made by a process of its own: Alembic and what it loads stay out of those that serve."""

import asyncio
import sys

from sqlalchemy.exc import DBAPIError

from service.errors import StartupRefused
from service.jobs import queue
from service.store.migrate import migrate


def main() -> None:
    """The URL comes on standard input, where nobody else can read it; a reason goes to standard error."""
    url = sys.stdin.readline().strip()
    try:
        asyncio.run(migrate(url, queue.install))
    except StartupRefused as refusal:
        sys.exit(_told(str(refusal)))
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", "")
        sys.exit(_told(f"DATABASE_URL: the schema could not be migrated ({state})"))


def _told(reason: str) -> int:
    print(reason, file=sys.stderr)
    return StartupRefused.exit_code


if __name__ == "__main__":
    main()
