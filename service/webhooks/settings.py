"""Settings of webhooks."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from service.environment import EnvironmentSettings

# Bytes; Standard Webhooks asks for 24 to 64.
MIN_SECRET_BYTES = 24
SECRET_PREFIX = "whsec_"  # noqa: S105 (a prefix, not a secret)


class WebhookSettings(EnvironmentSettings):
    """The secret of the whole installation signs webhooks of subjects that have none of their own yet."""

    secret: SecretStr | None = Field(
        default=None,
        validation_alias="REELMILL_WEBHOOK_SECRET",
        description="signs webhooks of subjects without a secret of their own: `whsec_` and base64, or any text of 24 "
        "bytes or more; unset: they need one",
    )
    allow_private: bool = Field(
        default=False,
        validation_alias="REELMILL_WEBHOOK_ALLOW_PRIVATE",
        description="allow webhooks to loopback, link-local and private addresses",
    )
    timeout_s: float = 10  # receivers should answer before they start work; failed deliveries are retried

    @field_validator("secret")
    @classmethod
    def _check_secret_length(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(signing_key(value)) < MIN_SECRET_BYTES:
            raise ValueError(f"a secret of at least {MIN_SECRET_BYTES} bytes is needed")
        return value


def signing_key(secret: SecretStr) -> bytes:
    """The bytes to sign with. Raises ValueError if a secret with the prefix is not valid base64."""
    text = secret.get_secret_value()
    if not text.startswith(SECRET_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"{SECRET_PREFIX} must be followed by base64") from None
