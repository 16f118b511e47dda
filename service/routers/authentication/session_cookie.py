"""The cookie that holds the token of a browser's session. No script can read it."""

from dataclasses import dataclass
from typing import Self

from starlette.datastructures import Headers

from service.routers.authentication.origins import Origin

COOKIE_NAME, SIGN_IN_COOKIE_NAME = "reelmill_session", "reelmill_sign_in"
# Browsers drop a cookie whose name and value have more than 4,096 bytes, without a word.
MAX_TOKEN_CHARACTERS = 4000
# Browsers cut a longer life to this.
MAX_AGE_S = 400 * 86_400


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The cookie of one service. Browsers keep cookies by host, so the name has the port: `reelmill_session_5003`.

    Over https the prefix `__Host-` makes browsers refuse one that was set over http, or by a host beside this one.
    """

    name: str
    secure: bool
    same_site: str = "Strict"

    @classmethod
    def of(cls, service: Origin) -> Self:
        return cls(_full_name(COOKIE_NAME, service), service.scheme == "https")

    @classmethod
    def of_sign_in(cls, service: Origin) -> Self:
        """The cookie that waits for who signs in elsewhere; the browser sends it when that site sends him back."""
        return cls(_full_name(SIGN_IN_COOKIE_NAME, service), service.scheme == "https", "Lax")

    def read(self, headers: Headers) -> list[str]:
        """Its values in a request: more than one if another service on this host has set one for a narrower path."""
        pairs = (pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
        return [value.strip() for name, _, value in pairs if name.strip() == self.name]

    def to_header(self, token: str, max_age_s: int) -> str:
        """The `Set-Cookie` header that keeps `token` for so many seconds."""
        age, site = min(max_age_s, MAX_AGE_S), f"{self.same_site}{'; Secure' if self.secure else ''}"
        return f"{self.name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite={site}"

    def to_clearing_header(self) -> str:
        """The `Set-Cookie` header that removes it."""
        return self.to_header("", 0)


def _full_name(name: str, service: Origin) -> str:
    full = name if service.port is None else f"{name}_{service.port}"
    return f"__Host-{full}" if service.scheme == "https" else full
