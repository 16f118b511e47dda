"""What an operator may set about webhooks."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from service.environment import EnvironmentSettings

SHORTEST = 24
"""Bytes; Standard Webhooks asks for 24 to 64."""
PREFIX = "whsec_"


class WebhookSettings(EnvironmentSettings):
    """Without a secret no webhook can be signed, so none is taken."""

    secret: SecretStr | None = Field(
        default=None,
        validation_alias="REELMILL_WEBHOOK_SECRET",
        description="signs webhooks: `whsec_` and base64, or any text of 24 bytes or more; unset: no webhooks",
    )
    allow_private: bool = Field(
        default=False,
        validation_alias="REELMILL_WEBHOOK_ALLOW_PRIVATE",
        description="let webhooks go to loopback, link-local and private addresses",
    )
    timeout_s: float = 10  # a receiver should answer first and work afterwards; what fails is sent again

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(key_of(value)) < SHORTEST:
            raise ValueError(f"a secret of at least {SHORTEST} bytes is needed")
        return value


def key_of(secret: SecretStr) -> bytes:
    """The bytes to sign with. Raises ValueError for what claims to be base64 and is not."""
    text = secret.get_secret_value()
    if not text.startswith(PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"behind {PREFIX} base64 is expected") from None
