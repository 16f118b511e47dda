"""The steps of a question as server-sent events, while they are taken; the last event is the answer or the problem."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi.sse import format_sse_event
from starlette.types import Scope

from service.agent.session import TraceStep
from service.routers.agent.answers import AgentAnswer, AgentStep
from service.routers.http.exception_mapping import to_problem_error
from service.routers.http.problems import problem_document

OnStep = Callable[[TraceStep], None]


async def stream_answer(ask: Callable[[OnStep], Awaitable[AgentAnswer]], scope: Scope) -> AsyncIterator[bytes]:
    """`step` events, then `answer` or `problem`. A client that goes away ends the question."""
    steps: asyncio.Queue[TraceStep | None] = asyncio.Queue()
    asking = asyncio.ensure_future(ask(steps.put_nowait))
    asking.add_done_callback(lambda _: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield _event("step", AgentStep.model_validate(step).model_dump(mode="json"))
        try:
            answer = await asking
        except Exception as error:
            yield _event("problem", problem_document(error, to_problem_error(error, scope), scope))
        else:
            yield _event("answer", answer.model_dump(mode="json"))
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def _event(name: str, data: Any) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data))
