"""One attempt to deliver a webhook: signed (Standard Webhooks 1.0) and sent to exactly the address that was checked."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx

from service import __version__
from service.webhooks.settings import WebhookSettings
from service.webhooks.target import Target, TargetForbidden, TargetUnresolvable, judge_target


def signature_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: a signature with each key is HMAC-SHA256 over `id.timestamp.body`.

    The message id is the same for every attempt. A receiver accepts the message if one of the signatures is right.
    """
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        "content-type": "application/json",
    }


HTTP_GONE = 410
USER_AGENT = f"reelmill/{__version__}"


class DeliveryError(Exception):
    """The delivery failed. `permanent`: another attempt would fail, too."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.permanent = reason, permanent


async def deliver(
    settings: WebhookSettings, keys: Sequence[bytes], url: str, message_id: str, body: dict[str, Any]
) -> None:
    """POST the body, signed with each of the keys. Any 2xx is success; redirects are not followed.

    Raises DeliveryError.
    """
    data = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    headers = signature_headers(keys, message_id, int(time.time()), data)
    try:
        target, addresses = await judge_target(url, allow_private=settings.allow_private)
        async with asyncio.timeout(settings.timeout_s):
            status = await _post_first_reachable(target, addresses, data, headers | {"user-agent": USER_AGENT})
    except TargetForbidden as error:
        raise DeliveryError(str(error), permanent=True) from error
    except TargetUnresolvable as error:
        raise DeliveryError(str(error)) from error
    except TimeoutError as error:
        raise DeliveryError(f"no answer within {settings.timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeliveryError(f"the receiver cannot be reached ({type(error).__name__})") from error
    if not 200 <= status < 300:
        raise DeliveryError(f"the receiver answered {status}", permanent=status == HTTP_GONE)


async def _post_first_reachable(target: Target, addresses: list[str], content: bytes, headers: dict[str, str]) -> int:
    """The HTTP status from the first address that accepts a connection."""
    for address in addresses[:-1]:
        with suppress(httpx.ConnectError):
            return await _post(target, address, content, headers)
    return await _post(target, addresses[-1], content, headers)


async def _post(target: Target, address: str, content: bytes, headers: dict[str, str]) -> int:
    """Connect to `address`, with the name of the host in the request and in the check of its certificate."""
    url = httpx.URL(target.url).copy_with(host=address)
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client:  # noqa: S113 (the caller has one)
        request = client.build_request(
            "POST",
            url,
            content=content,
            headers=headers | {"host": target.authority},
            extensions={"sni_hostname": target.host},
        )
        response = await client.send(request, stream=True)  # the body is not read
        await response.aclose()
        return response.status_code
