"""The headers of a signed webhook (Standard Webhooks 1.0: standardwebhooks.com)."""

import base64
import hashlib
import hmac


def signature_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """`webhook-id` is the same for each try; the signature is HMAC-SHA256 over `id.timestamp.body`."""
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
        "content-type": "application/json",
    }
