"""The random key, one a database, that all API processes sign cursors and upload addresses with."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

SELECT_SIGNING_KEY = text("SELECT key FROM signing_keys WHERE name = 'api'")


async def load_signing_key(connection: AsyncConnection) -> bytes:
    """32 bytes; made with the schema. Callers cannot read the table."""
    return bytes((await connection.execute(SELECT_SIGNING_KEY)).scalar_one())
