"""A session in a real browser, against the API as a process: what our page may do, and what pages beside it try."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.embedded.cluster import find_free_port
from tests.support.processes.api_process import ApiProcess, api_process
from tests.support.servers.browser import chromium
from tests.support.servers.databases import fresh_database
from tests.support.servers.oidc_issuer import PASSWORD, issuer_variables, oidc_issuer
from tests.support.servers.reverse_proxy import reverse_proxy

pytestmark = pytest.mark.anyio
FETCH = """
const [address, options, done] = arguments;
fetch(address, {credentials: "include", ...options}).then(
    async (answer) => done([answer.type, answer.status, answer.type === "opaque" ? null : await answer.text()]),
    (error) => done([error.name, 0, null]));
"""
# A form that a page sends without asking anybody, into a frame.
FORM = """
const [address, name, value, done] = arguments;
document.body.innerHTML = `<iframe name="f"></iframe><form method="post" enctype="text/plain" target="f"></form>`;
const form = document.forms[0], field = document.createElement("input");
[form.action, field.name, field.value] = [address, name, value];
form.append(field);
document.querySelector("iframe").onload = () => done();
form.submit();
"""
PICTURE = """
const [address, done] = arguments, picture = new Image();
picture.onload = () => done("shown");
picture.onerror = () => done("refused");
picture.src = address;
"""
OWN = {"X-Reelmill-Request": "1", "Content-Type": "application/json"}
# Another site than 127.0.0.1, where the API is.
ISSUER_SITE = f"localhost:{find_free_port()}"
EVIL = '{"name": "evil"}'


@dataclass(frozen=True)
class Browser:
    """Chromium, and the API that it visits."""

    driver: Any
    api: ApiProcess

    def fetch(self, path: str, method: str = "GET", **options: Any) -> list[Any]:
        """Type, status and text of the answer that the script of the present page gets."""
        return self.driver.execute_async_script(FETCH, self.api.url + path, {"method": method} | options)  # type: ignore[no-any-return]

    def open_docs(self) -> None:
        """A page of the service, with the Origin of the Studio."""
        self.driver.get(f"{self.api.url}/docs")

    def sign_in(self, token: str) -> list[Any]:
        return self.fetch("/api/session", "POST", headers=OWN, body=f'{{"token": "{token}"}}')

    def statuses(self, method: str, path: str) -> list[int]:
        """What this was answered, in the log, once it has been asked again."""
        last = self.fetch("/health/live?last", mode="no-cors")
        assert last[0] in ("basic", "opaque")
        self.api.wait_for_log_line(path="/health/live", status=200)
        return [
            line["status"] for line in self.api.log_lines() if (line.get("method"), line.get("path")) == (method, path)
        ]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiProcess]:
    variables = issuer_variables(f"http://{ISSUER_SITE}")
    async with fresh_database(postgres_url) as database:
        with api_process(database.url, tmp_path_factory.mktemp("api"), **variables) as api:
            yield api


@pytest.fixture
def browser(api: ApiProcess, tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path / "profile") as driver:
        yield Browser(driver, api)


def attack(browser: Browser, token: str) -> None:
    """All that the script of a page of another origin can send."""
    url = browser.api.url
    simple = {"mode": "no-cors", "headers": {"Content-Type": "text/plain"}}
    assert browser.fetch("/api/experiments", "POST", body=EVIL, **simple)[0] == "opaque"
    assert browser.fetch("/api/session", "POST", body=f'{{"token": "{token}"}}', **simple)[0] == "opaque"
    for method in ("POST", "DELETE"):  # asks for our permission first
        assert browser.fetch("/api/session", method, headers=OWN)[0] == "TypeError"
        assert browser.fetch("/api/experiments", method, headers=OWN)[0] == "TypeError"
    assert browser.fetch("/api/session")[0] == "TypeError"
    for path, name, value in (
        ("/api/experiments", '{"name": "evil", "description": "', '"}'),
        ("/api/session", f'{{"token": "{token}", "x": "', '"}'),
    ):
        browser.driver.execute_async_script(FORM, url + path, name, value)
    assert browser.driver.execute_async_script(PICTURE, f"{url}/api/experiments") == "refused"


async def test_only_our_own_page_uses_a_session(browser: Browser) -> None:
    tokens = {}
    for subject in ("alice", "mallory"):
        with browser.api.client(subject, "catalog:read", "catalog:write") as client:
            tokens[subject] = client.headers["Authorization"].removeprefix("Bearer ")
    browser.open_docs()
    assert browser.sign_in(tokens["alice"])[1] == 201
    assert browser.driver.execute_script("return document.cookie") == "", "no script can read it"
    assert browser.fetch("/api/experiments", "POST", headers=OWN, body='{"name": "own"}')[1] == 201
    tried = "return window.ui.getConfigs().requestInterceptor({headers: {}}).headers"
    assert browser.driver.execute_script(tried) == {"X-Reelmill-Request": "1"}, "what is tried out on /docs has it"

    with reverse_proxy(b"<!doctype html><title>evil</title><body>", browser.api.url) as beside:
        browser.driver.get(beside)  # another port of the same host, to which the browser sends the cookie
        attack(browser, tokens["mallory"])
        assert set(browser.statuses("POST", "/api/experiments")) == {201, 403}
        assert set(browser.statuses("GET", "/api/experiments")) == {403}
        browser.driver.get(beside.replace("127.0.0.1", "localhost"))  # another site
        attack(browser, tokens["mallory"])
        assert set(browser.statuses("POST", "/api/experiments")) == {201, 403, 401}
        assert set(browser.statuses("POST", "/api/session")) == {201, 403}

    browser.open_docs()
    assert '"user":"alice"' in browser.fetch("/api/session")[2]
    names = [
        row["name"]
        for row in browser.driver.execute_async_script(
            "fetch('/api/experiments').then((answer) => answer.json()).then(arguments[0])"
        )
    ]
    assert names == ["own"]
    assert browser.fetch("/api/session", "DELETE", headers=OWN)[1] == 204
    assert '"user":null' in browser.fetch("/api/session")[2]
    assert browser.fetch("/api/experiments")[1] == 401
    log = browser.api.log.read_text()
    assert not [token for token in tokens.values() if token.split(".")[1] in log or token.split(".")[2] in log]


async def test_signing_in_at_an_issuer_of_another_site(browser: Browser) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def fill_in(field: str, value: str) -> None:
        WebDriverWait(browser.driver, 20).until(lambda driver: driver.find_elements(By.NAME, field))
        browser.driver.find_element(By.NAME, field).send_keys(value + "\n")

    with oidc_issuer(f"{browser.api.url}/api/session/oidc/callback", ISSUER_SITE):
        browser.driver.get(f"{browser.api.url}/api/session/oidc")
        fill_in("login", "olga")
        fill_in("password", PASSWORD)
        WebDriverWait(browser.driver, 20).until(lambda driver: driver.current_url == f"{browser.api.url}/")
    browser.open_docs()
    assert '"user":"olga","scopes":["admin","catalog:read","catalog:write"]' in browser.fetch("/api/session")[2]
    (cookie,) = browser.driver.get_cookies()
    assert cookie["name"].startswith("reelmill_session_") and cookie["httpOnly"] and cookie["sameSite"] == "Strict"
