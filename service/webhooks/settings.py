"""Settings of webhooks."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from service.environment import EnvironmentSettings

# Bytes; Standard Webhooks asks for 24 to 64.
MIN_SECRET_BYTES = 24
SECRET_PREFIX = "whsec_"  # noqa: S105 (the mark of a secret, not one)


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
    def _check_secret_length(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(signing_key(value)) < MIN_SECRET_BYTES:
            raise ValueError(f"a secret of at least {MIN_SECRET_BYTES} bytes is needed")
        return value


def signing_key(secret: SecretStr) -> bytes:
    """The bytes to sign with. Raises ValueError for what claims to be base64 and is not."""
    text = secret.get_secret_value()
    if not text.startswith(SECRET_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"behind {SECRET_PREFIX} base64 is expected") from None
