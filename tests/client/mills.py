"""The client, connected to an application in this process."""

import httpx

from service.client.mill import AsyncReelmill
from tests.support.processes.catalogue_api import CatalogueApi


def open_mill(
    api: CatalogueApi,
    who: str = "alice",
    *scopes: str,
    transport: httpx.AsyncBaseTransport | None = None,
    patience_s: float = 20,
) -> AsyncReelmill:
    """With the token of a user; `transport` may stand between."""
    headers = api.client(who, *scopes).headers
    token = headers["Authorization"].removeprefix("Bearer ")
    return AsyncReelmill(
        "http://test", token=token, patience_s=patience_s, transport=transport or httpx.ASGITransport(api.app)
    )
