"""The random key, one a database, that all API processes sign cursors and upload addresses with."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

API_KEY = text("SELECT key FROM signing_keys WHERE name = 'api'")


async def api_key(connection: AsyncConnection) -> bytes:
    """32 bytes; made with the schema. Callers cannot read the table."""
    return bytes((await connection.execute(API_KEY)).scalar_one())
