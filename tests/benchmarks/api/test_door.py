"""The hostile crowd of the door benchmark: as many connections as it is told, of every kind, until the end of the block."""

import asyncio
from contextlib import ExitStack

import pytest

from benchmarks.api.hostile_crowd import ADDRESSES, KINDS, Attack, hostile_crowd
from service.processes.app import create_app
from service.processes.http_connection import TimeLimits
from service.routers.settings import HttpSettings
from tests.routers.conftest import resources
from tests.support.servers.http_server import http_server

pytestmark = pytest.mark.anyio


async def test_the_crowd_comes_and_goes() -> None:
    count = 2 * len(KINDS)
    async with http_server(create_app(resources()), HttpSettings.model_construct(), TimeLimits()) as server:
        crowd = hostile_crowd(Attack(server.port, "no token", "no-render", count))
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, crowd)
            await server.wait_for(count)
            assert len(server.table._counts) == min(count, len(ADDRESSES)), "each from an address of its own"
            await asyncio.to_thread(stack.close)
        await server.wait_until_empty()
