"""Every operation with every value of a caller at its extreme: no 500, and no request that blocks the event loop.

The requests are made from the OpenAPI document. `make test` sends a part of them, a different part to each place;
`REELMILL_FUZZ_SECONDS` sends as many as that takes (`make fuzz`), in the order of `REELMILL_FUZZ_SEED`.
"""

import asyncio
import gc
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.support.extremes.cases import PLACEHOLDER, Case, make_cases
from tests.support.extremes.known_data import COLUMNS, KnownApi, decode_cursor, encode_cursor, known_api
from tests.support.extremes.sending import Answer, BusyMeter, send
from tests.support.extremes.values import JSON_VALUES
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
SECONDS = float(os.environ.get("REELMILL_FUZZ_SECONDS", "0"))
SEED = os.environ.get("REELMILL_FUZZ_SEED", "1")
# Of the values of one place, every so many are sent, beginning with another one at each place.
STRIDE = 16
# Fewer where the options are those of `generate` once more.
LONG_STRIDE, REPEATED = 128, ("make_preset", "change_preset", "render_batch")
# CPU time of the longest callback of the event loop, of the better of two tries; and of the answers to refused requests.
MAX_BUSY_S, MAX_PROBLEM_BYTES, MAX_LOGGED_BYTES = 0.1, 64 * 1024, 128 * 1024
NAMED_FAILURES = (503, 504)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KnownApi]:
    async with known_api(postgres_url, tmp_path_factory.mktemp("home")) as api:
        yield api


@pytest.fixture(scope="module")
def meter() -> Iterator[BusyMeter]:
    gc.collect()
    gc.freeze()  # the heap of the other tests is not the application's
    with BusyMeter().measure_callbacks() as meter:
        yield meter
    gc.unfreeze()


def chosen(cases: list[Case]) -> list[Case]:
    """The cases of this run: all, in any order, if there is time, or a part of each place's."""
    if SECONDS:
        random.Random(SEED).shuffle(cases)
        return cases
    places = groupby(cases, key=lambda case: (case.operation, case.place))
    return [
        case
        for number, ((operation, _), of_place) in enumerate(places)
        for position, case in enumerate(of_place)
        if (position + number) % (LONG_STRIDE if operation in REPEATED else STRIDE) == 0 or case.place == "body"
    ]


def fault(answer: Answer) -> str | None:
    """What is wrong with an answer."""
    if answer.status >= 500 and answer.status not in NAMED_FAILURES:
        return f"is answered with {answer.status}"
    if answer.status >= 400 and answer.headers.get("content-type") != "application/problem+json":
        return "is refused without a problem document"
    if answer.status >= 400 and len(answer.body) > MAX_PROBLEM_BYTES:
        return f"has a problem document of {len(answer.body)} bytes"
    return f"keeps the event loop busy for {answer.busy_s:.3f} s" if answer.busy_s > MAX_BUSY_S else None


async def judge(api: KnownApi, case: Case, meter: BusyMeter) -> str | None:
    """The fault that a case shows twice."""
    async with asyncio.timeout(PATIENCE_S):
        if fault(await send(api.app, case, api.token, meter)) is None:
            return None
        wrong = fault(await send(api.app, case, api.token, meter))
        return wrong and f"{case} {wrong}"


async def test_no_value_of_a_caller_fails_or_blocks_the_service(
    api: KnownApi, meter: BusyMeter, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    cases = chosen(list(make_cases(api.app.openapi(), api.known)))
    deadline = time.monotonic() + (SECONDS or 3600)
    faults: list[str] = []
    sent = 0
    for case in cases:
        if time.monotonic() > deadline:
            break
        if wrong := await judge(api, case, meter):
            faults.append(wrong)
        sent += 1
    assert faults == [], f"{len(faults)} of {sent}"
    assert len({case.operation for case in cases[:sent]}) > 30 and sent > 2000
    assert max(len(json.dumps(line)) for line in log_lines()) < MAX_LOGGED_BYTES


async def test_no_value_in_a_cursor_fails_or_blocks_the_service(api: KnownApi, meter: BusyMeter) -> None:
    """Cursors of queries are not signed: whoever knows the digest of a query can write any place."""
    faults = []
    step = 1 if SECONDS else 4
    for number, (table, column) in enumerate((name, column) for name in COLUMNS for column in COLUMNS[name]):
        query = {"table": table, "order_by": [column], "limit": 1}
        answer = await _query(api, meter, query)
        if answer.status == 422 or not json.loads(answer.body)["next_cursor"]:
            continue
        place = decode_cursor(json.loads(answer.body)["next_cursor"])
        for value in JSON_VALUES[number % step :: step]:
            text = json.dumps([place[0], PLACEHOLDER, *place[2:]]).replace(json.dumps(PLACEHOLDER), value)
            answer = await _query(api, meter, query | {"cursor": encode_cursor(text)})
            if wrong := fault(answer):
                faults.append(f"{table} {column} {value[:60]} {wrong}: {answer.body[:200]!r}")
    assert faults == []


async def _query(api: KnownApi, meter: BusyMeter, query: dict[str, Any]) -> Answer:
    body, json_type = json.dumps(query).encode(), ((b"content-type", b"application/json"),)
    case = Case("query_database", "cursor", "", "POST", "/api/database/query", headers=json_type, body=body)
    return await send(api.app, case, api.token, meter)
