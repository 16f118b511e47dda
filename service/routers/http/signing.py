"""HMAC-signed values that clients hand back: page cursors and upload grants."""

import base64
import hashlib
import hmac
import json
from typing import Annotated, Any

from fastapi import Depends, Request

from service.routers.http.dependencies import ResourcesDep
from service.store import database

MAC_BYTES = 16


class Signer:
    """Signs JSON values with HMAC-SHA256. A signature is valid for one purpose only."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, purpose: str, value: Any) -> str:
        body = json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(purpose, body) + body).decode().rstrip("=")

    def verify(self, purpose: str, signed: str) -> Any:
        """The signed value. Raises ValueError, or RecursionError for deeply nested JSON, if the signature is wrong."""
        raw = base64.b64decode(signed + "=" * (-len(signed) % 4), b"-_", validate=True)
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(purpose, body)) or self.sign(purpose, json.loads(body)) != signed:
            raise ValueError("the signature is invalid")
        return json.loads(body)

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\0" + body, hashlib.sha256)[:MAC_BYTES]


async def signer(request: Request, resources: ResourcesDep) -> Signer:
    """The signer of this process. The key is loaded from the database on first use."""
    state = request.app.state
    if not hasattr(state, "signer"):
        async with resources.database.service_transaction() as connection:
            state.signer = Signer(await database.load_signing_key(connection))
    instance: Signer = state.signer
    return instance


SignerDep = Annotated[Signer, Depends(signer)]
