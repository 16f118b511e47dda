"""What there is of a render: its frames in parts that are made, reused, being made, or to be made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PartState = Literal["made", "reused", "making", "pending"]

SELECT_SEGMENT_STATES = text("""
    SELECT CASE
            WHEN s.reused THEN 'reused'
            WHEN r.status = 'succeeded' OR t.state = 'succeeded' THEN 'made'
            WHEN t.state = 'running' THEN 'making'
            ELSE 'pending' END AS state,
        coalesce(CASE WHEN s.reused OR r.status = 'succeeded' OR t.state = 'succeeded' THEN c.frames END,
            lead(s.first_output, 1, r.frames_total) OVER (ORDER BY s.number) - s.first_output)::bigint AS frames
    FROM segments s JOIN renders r ON r.id = s.render_id
    LEFT JOIN segment_cache c ON c.content_key = s.content_key
    LEFT JOIN tasks t ON t.render_id = s.render_id AND t.kind = 'segment' AND t.number = s.number
    WHERE s.render_id = :render ORDER BY s.number
""")


@dataclass(frozen=True, slots=True)
class RenderPart:
    """Output frames that follow each other and are in one state."""

    first: int
    frames: int
    state: PartState


async def list_parts(connection: AsyncConnection, render: UUID) -> list[RenderPart]:
    """The parts of a render, in order. Run as the service: check the caller's rights before."""
    rows = await connection.execute(SELECT_SEGMENT_STATES, {"render": render})
    return join_parts((row.state, row.frames) for row in rows)


def join_parts(segments: Iterable[tuple[PartState, int]]) -> list[RenderPart]:
    """Segments by their state and number of frames, those that follow each other in one state as one part."""
    parts: list[RenderPart] = []
    first = 0
    for state, frames in segments:
        if parts and parts[-1].state == state:
            last = parts.pop()
            parts.append(RenderPart(last.first, last.frames + frames, state))
        elif frames:
            parts.append(RenderPart(first, frames, state))
        first += frames
    return parts
