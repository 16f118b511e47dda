"""Migrate the database in a separate process, so that serving processes never load Alembic."""

import asyncio
import sys

from sqlalchemy.exc import DBAPIError

from service.errors import StartupError
from service.store.schema import migrate


def main() -> None:
    """Read the database URL from standard input, where no other process can see it; print an error to stderr."""
    url = sys.stdin.readline().strip()
    try:
        asyncio.run(migrate(url))
    except StartupError as error:
        reason = str(error)
    except DBAPIError as error:
        reason = f"DATABASE_URL: the schema could not be migrated ({getattr(error.orig, 'sqlstate', '')})"
    else:
        return
    print(reason, file=sys.stderr)
    sys.exit(StartupError.exit_code)


if __name__ == "__main__":
    main()
