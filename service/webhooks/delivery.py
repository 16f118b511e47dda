"""One try to deliver a webhook, to the very address that was checked."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import httpx

from service import __version__
from service.webhooks.settings import WebhookSettings, key_of
from service.webhooks.signature import signed_headers
from service.webhooks.target import Target, TargetRefused, TargetUnknown, addresses, parsed

GONE = 410
AGENT = f"reelmill/{__version__}"


class Undelivered(Exception):
    """The receiver did not take it; `final` says that another try is of no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final = reason, final


async def deliver(settings: WebhookSettings, url: str, message_id: str, body: dict[str, Any]) -> None:
    """POST the body, signed; any 2xx is success, redirects are not followed. Raises Undelivered."""
    assert settings.secret is not None
    data = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    headers = signed_headers(key_of(settings.secret), message_id, int(time.time()), data)
    try:
        target = parsed(url)
        found = await addresses(target, allow_private=settings.allow_private)
        async with asyncio.timeout(settings.timeout_s):
            status = await _first(target, found, data, headers | {"user-agent": AGENT})
    except TargetRefused as refused:
        raise Undelivered(str(refused), final=True) from refused
    except TargetUnknown as unknown:
        raise Undelivered(str(unknown)) from unknown
    except TimeoutError as error:
        raise Undelivered(f"no answer within {settings.timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Undelivered(f"the receiver cannot be reached ({type(error).__name__})") from error
    if not 200 <= status < 300:
        raise Undelivered(f"the receiver answered {status}", final=status == GONE)


async def _first(target: Target, found: list[str], data: bytes, headers: dict[str, str]) -> int:
    """The status from the first address that can be connected to."""
    for address in found[:-1]:
        with suppress(httpx.ConnectError):
            return await _post(target, address, data, headers)
    return await _post(target, found[-1], data, headers)


async def _post(target: Target, address: str, data: bytes, headers: dict[str, str]) -> int:
    """Connects to `address`, asks for the host by name, and checks its certificate for that name."""
    url = httpx.URL(target.url).copy_with(host=address)
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client:  # noqa: S113 (the caller's)
        request = client.build_request(
            "POST",
            url,
            content=data,
            headers=headers | {"host": target.authority},
            extensions={"sni_hostname": target.host},
        )
        answer = await client.send(request, stream=True)
        await answer.aclose()
        return answer.status_code
