"""Signing in at a real issuer: who gets what, and what is refused on the way back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from service import config
from service.errors import StartupError
from service.identity import openid
from service.identity.openid import OpenIdIssuer, OpenIdSignIn, parse_groups
from service.identity.settings import IdentitySettings, OidcSettings
from service.processes.api import build_resources
from service.processes.app import create_app
from service.processes.startup import SharedState
from tests.routers.authentication.test_session import COOKIE, OWN_PAGE, URL
from tests.routers.conftest import SECRET, resources
from tests.routers.conftest import router as trials
from tests.routers.http.test_problems import API, assert_problem
from tests.support.processes.clean_environment import clean_environment
from tests.support.servers.oidc_issuer import CLIENT_SECRET, OPERATORS, Issuer, issuer_variables, oidc_issuer

pytestmark = pytest.mark.anyio
START, CALLBACK = "/api/session/oidc", f"{URL}/api/session/oidc/callback"
FLOW_COOKIE = "reelmill_sign_in_5003"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with oidc_issuer(CALLBACK) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def operators() -> Iterator[str]:
    """People who have not signed in yet."""
    return iter(OPERATORS[1:])


@pytest.fixture
def operator(operators: Iterator[str]) -> str:
    return next(operators)


@asynccontextmanager
async def browser_of(variables: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at a service with these variables."""
    with clean_environment(**variables):
        settings = OidcSettings()
    open_id = OpenIdSignIn(settings, IdentitySettings.model_construct(secret=SECRET), None)
    app = create_app(replace(resources(), open_id=open_id))
    app.include_router(trials)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL, headers=OWN_PAGE) as client:
        yield client
    await open_id.issuer.close()


@pytest.fixture
async def browser(issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    async with browser_of(issuer_variables(issuer.address)) as client:
        yield client


async def go_and_log_in(browser: httpx.AsyncClient, issuer: Issuer, name: str) -> str:
    """Where the issuer sends the browser back to."""
    started = await browser.get(START)
    assert started.status_code == 303 and started.headers["location"].startswith(f"{issuer.address}/oauth/authorize?")
    return issuer.log_in(started.headers["location"], name)


async def reason_of(browser: httpx.AsyncClient, address: str, **options: Any) -> str:
    """Why coming back to this address does not sign in."""
    answer = await browser.get(address, **options)
    assert answer.status_code == 303 and COOKIE not in str(answer.headers), answer.text
    place, _, reason = answer.headers["location"].partition("#sign-in=")
    assert place == "/"
    return reason


@pytest.mark.parametrize(("name", "scopes"), [("olga", ["admin", "catalog:read", "catalog:write"]), ("alice", ["catalog:read", "catalog:write"])])  # fmt: skip
async def test_groups_are_scopes(browser: httpx.AsyncClient, issuer: Issuer, name: str, scopes: list[str]) -> None:
    assert (await browser.get("/api/session")).json()["sign_in_url"] == START
    back = await browser.get(await go_and_log_in(browser, issuer, name))
    assert (back.status_code, back.headers["location"]) == (303, "/")
    session, flow = back.headers.get_list("set-cookie")
    assert session.startswith(f"{COOKIE}=eyJ") and session.endswith(
        "; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
    )
    assert flow == f"{FLOW_COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    told = (await browser.get("/api/session")).json()
    assert (told["user"], told["scopes"]) == (name, scopes)
    assert (await browser.get(f"{API}/caller")).json() == {"subject": name, "admin": "admin" in scopes}


async def test_the_browser_is_sent_with_everything_that_binds_the_answer_to_it(browser: httpx.AsyncClient) -> None:
    asked = []
    for _ in range(2):
        answer = await browser.get(START)
        assert answer.headers["set-cookie"].endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax")
        asked.append({name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()})
    assert asked[0]["redirect_uri"] == CALLBACK and asked[0]["scope"] == "openid groups profile"
    assert (asked[0]["response_type"], asked[0]["code_challenge_method"]) == ("code", "S256")
    assert all(asked[0][name] != asked[1][name] for name in ("state", "nonce", "code_challenge"))


async def test_who_is_in_no_group_gets_nothing(browser: httpx.AsyncClient, issuer: Issuer) -> None:
    assert await reason_of(browser, await go_and_log_in(browser, issuer, "eve")) == "refused"
    async with browser_of(issuer_variables(issuer.address) | {"OIDC_GROUPS": "*=videos:read"}) as other:
        await other.get(await go_and_log_in(other, issuer, "adam"))
        assert (await other.get("/api/session")).json()["scopes"] == ["videos:read"]


async def test_only_the_browser_that_began_comes_back(
    browser: httpx.AsyncClient, issuer: Issuer, operator: str
) -> None:
    """An address that somebody else got from the issuer signs nobody in as him."""
    address = await go_and_log_in(browser, issuer, operator)
    own = browser.cookies[FLOW_COOKIE]
    browser.cookies.clear()
    assert await reason_of(browser, address) == "stale"
    state, nonce, verifier = own.split(".")
    for cookie in ("", "a.b", "..", f"x{own}", f"{state}x.{nonce}.{verifier}", f"{own}; {FLOW_COOKIE}={own}", "\xff"):
        header = {b"Cookie": f"{FLOW_COOKIE}={cookie}".encode("latin-1")}
        assert await reason_of(browser, address, headers=header) == "stale"
    await browser.get(START)
    assert await reason_of(browser, address) == "stale"
    without_state = address.replace(f"state={state}", "state=")
    for cookie in ("..", f".{nonce}.{verifier}", f"{state}.{nonce}."):
        assert await reason_of(browser, without_state, headers={"Cookie": f"{FLOW_COOKIE}={cookie}"}) == "stale"
    assert await reason_of(browser, without_state, headers={"Cookie": f"{FLOW_COOKIE}={own}"}) == "stale"


@pytest.mark.parametrize("part", ["nonce", "verifier", "code", "issuer"])
async def test_what_the_issuer_says_is_for_this_sign_in(
    browser: httpx.AsyncClient, issuer: Issuer, operator: str, part: str
) -> None:
    address = await go_and_log_in(browser, issuer, operator)
    state, nonce, verifier = browser.cookies[FLOW_COOKIE].split(".")
    browser.cookies.clear()
    other = "A" * 43
    nonce, verifier = other if part == "nonce" else nonce, other if part == "verifier" else verifier
    url = httpx.URL(address)
    if part in ("code", "issuer"):
        url = url.copy_merge_params({"code": other} if part == "code" else {"iss": "https://evil.example"})
    header = {"Cookie": f"{FLOW_COOKIE}={state}.{nonce}.{verifier}"}
    assert await reason_of(browser, str(url), headers=header) == "invalid"


async def test_a_code_is_good_once(browser: httpx.AsyncClient, issuer: Issuer, operator: str) -> None:
    address = await go_and_log_in(browser, issuer, operator)
    flow = {"Cookie": f"{FLOW_COOKIE}={browser.cookies[FLOW_COOKIE]}"}
    assert (await browser.get(address, headers=flow)).headers["location"] == "/"
    browser.cookies.clear()
    assert await reason_of(browser, address, headers=flow) == "invalid"


async def test_the_issuer_refuses(browser: httpx.AsyncClient) -> None:
    state = parse_qs(urlsplit((await browser.get(START)).headers["location"]).query)["state"][0]
    for query in ({"error": "access_denied"}, {"error": "x", "code": "y"}, {}):
        assert await reason_of(browser, CALLBACK, params=query | {"state": state}) == "refused"
    problem = assert_problem(
        await browser.get("/api/session/oidc/callback?code=" + "x" * 5000), 422, "validation-error"
    )
    assert problem["errors"][0]["parameter"] == "code"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"OIDC_ISSUER": "http://127.0.0.1:1"}, "unavailable"),
        ({"OIDC_ISSUER": "{address}/other"}, "unavailable"),
        ({"OIDC_ISSUER": "{address}/"}, "unavailable"),
        ({"OIDC_CLIENT_SECRET": "another"}, "invalid"),
        ({"OIDC_CLIENT_ID": "another"}, None),
    ],
)
async def test_settings_that_do_not_fit_the_issuer(
    issuer: Issuer, operator: str, change: dict[str, str], reason: str | None
) -> None:
    variables = {name: value.format(address=issuer.address) for name, value in change.items()}
    async with browser_of(issuer_variables(issuer.address) | variables) as browser:
        if "OIDC_ISSUER" in change:
            assert await reason_of(browser, START) == reason
        elif reason is not None:
            assert await reason_of(browser, await go_and_log_in(browser, issuer, operator)) == reason
        else:
            with pytest.raises(httpx.HTTPStatusError):
                await go_and_log_in(browser, issuer, operator)


async def test_an_issuer_that_fails_is_asked_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openid, "MIN_ATTEMPT_INTERVAL_S", 600.0)
    asked = 0

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(fail, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with browser_of(issuer_variables(address)) as browser:
            reasons = await asyncio.gather(*(reason_of(browser, START) for _ in range(5)))
    assert reasons == ["unavailable"] * 5 and asked == 1


async def test_no_log_line_has_a_code_or_a_secret(
    browser: httpx.AsyncClient, issuer: Issuer, operator: str, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    address = await go_and_log_in(browser, issuer, operator)
    kept = browser.cookies[FLOW_COOKIE].split(".")
    token = (await browser.get(address)).headers.get_list("set-cookie")[0].split("=")[1].split(";")[0]
    assert await reason_of(browser, address) == "stale"
    written = str(log_lines())
    assert "sign-in failed" in written
    secrets = [*kept, parse_qs(urlsplit(address).query)["code"][0], CLIENT_SECRET, token, token.split(".")[1]]
    assert [secret for secret in secrets if secret in written] == []


def test_groups() -> None:
    assert parse_groups("") == {}
    rules = parse_groups(
        " operators = admin ,lab=catalog:read  videos:read, cn=lab=agent:ask,lab=query:run,*=ops:read,"
    )
    assert rules == {
        "operators": {"admin"},
        "lab": {"catalog:read", "videos:read", "query:run"},
        "cn=lab": {"agent:ask"},
        "*": {"ops:read"},
    }


@pytest.mark.parametrize("value", ["lab", "lab=", "=admin", "lab=root", "lab=admin;catalog:read", "a=admin,b"])
def test_groups_that_mean_nothing(value: str) -> None:
    with pytest.raises(StartupError, match="OIDC_GROUPS: write it as in"):
        parse_groups(value)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"OIDC_ISSUER": "issuer.example"}, "OIDC_ISSUER"),
        ({"OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID"),
        ({"OIDC_GROUPS": "lab"}, "OIDC_GROUPS"),
        ({"JWT_JWKS_URL": "https://issuer.example/keys"}, "OIDC_ISSUER needs JWT_SECRET"),
    ],
)
def test_settings_that_cannot_work(variables: dict[str, str], name: str) -> None:
    state = SharedState(None, None, None if "JWT_JWKS_URL" in variables else SecretStr("x" * 48), None)  # type: ignore[arg-type]
    with (
        clean_environment(**issuer_variables("https://issuer.example") | variables),
        pytest.raises(StartupError, match=name),
    ):
        build_resources(config.load(), state)


def test_without_an_issuer_there_is_nothing() -> None:
    with pytest.raises(StartupError, match="OIDC_ISSUER must be an address"):
        OpenIdIssuer(OidcSettings.model_construct(client_id="reelmill"))
