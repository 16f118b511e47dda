"""How far a render can be watched: its segments, in order, and which of them lie in the cache."""

from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.stream.playlist import StreamSegment

SELECT_PARTS = text("""
    SELECT s.number, s.content_key, s.planned, c.frames, c.duration, r.options ->> 'fps' AS fps,
        lead(s.first_output, 1, r.frames_total) OVER (ORDER BY s.number) - s.first_output AS outputs
    FROM segments s JOIN renders r ON r.id = s.render_id LEFT JOIN segment_cache c ON c.content_key = s.content_key
    WHERE s.render_id = :render ORDER BY s.number
""")
TOUCH_SEGMENTS = text("""
    UPDATE segment_cache SET used_at = now()
    WHERE used_at < now() - interval '1 minute'
        AND content_key IN (SELECT content_key FROM segments WHERE render_id = :render)
""")


async def list_playlist_parts(connection: AsyncConnection, render: UUID) -> list[StreamSegment]:
    rows = await connection.execute(SELECT_PARTS, {"render": render})
    return [StreamSegment(row.number, _planned_seconds(row), _encoded_seconds(row), row.content_key) for row in rows]


def _planned_seconds(row: Row[Any]) -> Fraction:
    """Seconds; renders from before they were noted have a steady rate."""
    return Fraction(row.planned) if row.planned else row.outputs / Fraction(row.fps)


def _encoded_seconds(row: Row[Any]) -> Fraction | None:
    """Seconds; None for a segment that is not in the cache."""
    if row.frames is None:
        return None
    return Fraction(row.duration) if row.duration else row.frames / Fraction(row.fps)


async def touch_segments(connection: AsyncConnection, render: UUID) -> None:
    """Somebody watches: the render's segments count as used now (to the minute)."""
    await connection.execute(TOUCH_SEGMENTS, {"render": render})
