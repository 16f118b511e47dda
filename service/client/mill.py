"""The service as a whole: where everything begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from service.client.addresses import checked_address, find_address
from service.client.automation.presets import AsyncPresets
from service.client.automation.schedules import AsyncSchedules
from service.client.datasets import AsyncDataset
from service.client.experiments import AsyncExperiments
from service.client.queries import AsyncQuery, Question
from service.client.renders import AsyncRenders
from service.client.requests import require_object, require_rows

if TYPE_CHECKING:
    import httpx


class AsyncReelmill:
    """A Reelmill service. Without arguments: that of REELMILL_URL and REELMILL_TOKEN, or of this machine.

    A service that cannot be reached is waited for, `patience_s` seconds. `transport` replaces the network, for example
    by an application in the same process. Raises Misconfigured.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        patience_s: float = 20,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        from service.client.transport import Transport  # loads httpx, which is slow to import

        address = checked_address(url, token) if url and token else find_address(url, token)
        self._transport = Transport(address, transport, patience_s)
        self.experiments = AsyncExperiments(self._transport)
        self.renders = AsyncRenders(self._transport)
        self.presets = AsyncPresets(self._transport)
        self.schedules = AsyncSchedules(self._transport)

    @property
    def url(self) -> str:
        return self._transport.address.url

    async def dataset(self, dataset_id: UUID | str) -> AsyncDataset:
        """Raises NotFound."""
        row = await self._transport.call("get_dataset", dataset_id=dataset_id)
        return AsyncDataset(self._transport, require_object(row))

    def query(self, table: str) -> AsyncQuery:
        """A question to a table of the database, in parts: `.where(…).order_by(…).rows()`."""
        return AsyncQuery(self._transport, {"table": table})

    async def tables(self) -> list[dict[str, Any]]:
        """The tables that may be asked, with their columns."""
        return require_rows(await self._transport.call("list_tables"))

    async def ask(self, question: str, *, after: Question | None = None) -> Question:
        """Ask in plain words; `answer` has the text. Renders are suggested, never started.

        `after`: what was answered before, if the question refers to it.
        """
        context = {} if after is None or after.fields["context"] is None else {"context": after.fields["context"]}
        answer = await self._transport.call("ask_agent", body={"query": question} | context)
        return Question(require_object(answer))

    async def health(self) -> dict[str, Any]:
        return require_object(await self._transport.call("health"))

    async def workers(self) -> list[dict[str, Any]]:
        return require_rows(await self._transport.call("list_workers"))

    async def devices(self) -> list[dict[str, Any]]:
        return require_rows(await self._transport.call("list_devices"))

    async def call(
        self, operation: str, *, body: Any = None, headers: Mapping[str, str] | None = None, **parameters: Any
    ) -> Any:
        """The JSON that an operation of the API answers, by its name in `/openapi.json`: every route can be reached.

        Parameters of path and query are given by name. Raises Refused, Unreachable.
        """
        return await self._transport.call(operation, body=body, headers=headers, **parameters)

    async def rows(self, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
        """The rows of a list of the API, from all its pages. Raises Refused, Unreachable."""
        async for row in self._transport.rows(path, query):
            yield row

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
