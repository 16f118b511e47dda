"""Where the client finds the service, and which token it takes; no error and no text shows a token."""

from pathlib import Path

import pytest

from service.client.addresses import Address, checked_address, find_address
from service.client.errors import Misconfigured
from service.identity.local_secret import local_secret
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier
from tests.support.processes.clean_environment import clean_environment

pytestmark = pytest.mark.anyio


def test_arguments_come_before_the_environment() -> None:
    with clean_environment(REELMILL_URL="https://there", REELMILL_TOKEN="t"):
        assert find_address() == Address("https://there", "t")
        assert find_address("http://here:1/", token="u") == Address("http://here:1", "u")


async def test_the_token_for_this_machine_is_one_that_its_service_accepts(tmp_path: Path) -> None:
    secret = local_secret(tmp_path)
    with clean_environment(REELMILL_HOME=str(tmp_path), PORT="8123"):
        address = find_address()
    assert address.url == "http://127.0.0.1:8123"
    identity = await TokenVerifier(IdentitySettings.model_construct(), secret).verify(address.token)
    assert identity.subject == "local-user" and {"catalog:read", "videos:render", "query:run"} <= identity.scopes


async def test_it_has_the_issuer_and_audience_that_the_service_wants() -> None:
    own = {"JWT_SECRET": "s" * 40, "JWT_ISSUER": "lab", "JWT_AUDIENCE": "mill"}
    with clean_environment(**own):
        token = find_address().token
        settings = IdentitySettings()
    assert (await TokenVerifier(settings).verify(token)).subject == "local-user"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"REELMILL_URL": "https://elsewhere"}, "REELMILL_TOKEN is not set"),
        ({"REELMILL_HOME": "/nowhere"}, "reelmill up"),
        ({"JWT_JWKS_URL": "https://issuer"}, "JWT_JWKS_URL"),
        ({"JWT_SECRET": "s" * 64, "JWT_ALGORITHMS": "HS512"}, "reelmill token"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], reason: str) -> None:
    with clean_environment(**environment), pytest.raises(Misconfigured, match=reason):
        find_address()


@pytest.mark.parametrize(
    "url", ["ftp://x", "x", "http://", "http://[", "http://x:99999", "http://x:0", "http://ü", "http://a b"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(Misconfigured, match="REELMILL_URL must be an address"):
        checked_address(url, "t")


@pytest.mark.parametrize("token", ["ü", "a\nb"])
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        checked_address("http://x", token)
    assert token not in str(caught.value)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(Address("http://x", "secret"))
