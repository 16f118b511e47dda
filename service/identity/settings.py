"""Which tokens are accepted, from the environment."""

from pydantic import Field, SecretStr

from service.environment import EnvironmentSettings
from service.errors import StartupError


class IdentitySettings(EnvironmentSettings):
    """Either `JWT_SECRET` or `JWT_JWKS_URL`; with an embedded PostgreSQL, a secret of this machine replaces both."""

    secret: SecretStr | None = Field(
        default=None,
        validation_alias="JWT_SECRET",
        description="shared secret of HMAC tokens, 32 bytes or more; unset: created with the embedded PostgreSQL",
    )
    jwks_url: str | None = Field(
        default=None,
        validation_alias="JWT_JWKS_URL",
        description="where the issuer publishes its public keys (JWK set)",
    )
    algorithms: str | None = Field(
        default=None,
        validation_alias="JWT_ALGORITHMS",
        description="accepted algorithms, comma separated; unset: HS256 with a secret, RS256 and ES256 with a JWK set",
    )
    issuer: str | None = Field(default=None, validation_alias="JWT_ISSUER", description="required `iss` claim")
    audience: str | None = Field(default=None, validation_alias="JWT_AUDIENCE", description="required `aud` claim")

    def accepted_algorithms(self, default: str, supported: frozenset[str]) -> tuple[str, ...]:
        """The algorithms to accept. Raises StartupError for one that the kind of key in use does not support."""
        names = tuple(name.strip() for name in (self.algorithms or default).split(",") if name.strip())
        if not names or not supported.issuperset(names):
            choices = ", ".join(sorted(supported))
            raise StartupError(f"JWT_ALGORITHMS must name some of {choices} with this kind of key")
        return names


class OidcSettings(EnvironmentSettings):
    """Where people sign in with a browser."""

    issuer: str | None = Field(
        default=None,
        validation_alias="OIDC_ISSUER",
        description="address of the OpenID Connect issuer where browsers may sign in; unset: none",
    )
    client_id: str | None = Field(
        default=None, validation_alias="OIDC_CLIENT_ID", description="what the issuer calls this service"
    )
    client_secret: SecretStr | None = Field(
        default=None,
        validation_alias="OIDC_CLIENT_SECRET",
        description="what the service shows the issuer; unset: nothing, as a public client",
    )
    groups: str = Field(
        default="",
        validation_alias="OIDC_GROUPS",
        description="what the issuer's groups may, as in `operators=admin,lab=catalog:read videos:read`; `*` is "
        "everybody; unset: nobody anything",
    )
