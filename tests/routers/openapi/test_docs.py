"""/docs and /redoc show every operation in a real browser without internet access."""

import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from service.processes.app import create_app
from service.routers.openapi.docs import SECURITY_HEADERS
from tests.routers.conftest import resources
from tests.support.patience import PATIENCE_S

CHROMIUM, DRIVER = "/usr/bin/chromium", shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,2000",
]
OPERATIONS = sum(len(item) for item in create_app(resources()).openapi()["paths"].values())


def test_every_file_that_the_pages_name_is_served(address: str) -> None:
    for page in ("/docs", "/redoc"):
        text = httpx.get(address + page, trust_env=False).text
        names = re.findall(r'(?:href|src)="(docs/assets/[^"]+)"', text)
        assert names
        for name in names:
            answer = httpx.get(f"{address}/{name}", trust_env=False)
            assert answer.status_code == 200 and answer.content, name
            assert answer.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["favicon.png", "%2e%2e%2fcore.py", "nothing.js"])
def test_no_other_file_of_the_package_is_served(address: str, name: str) -> None:
    assert httpx.get(f"{address}/docs/assets/{name}", trust_env=False).status_code == 404


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The API on a real server with a free port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # requests wait until the server is there
    server = uvicorn.Server(uvicorn.Config(create_app(resources()), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    if not Path(CHROMIUM).exists() or DRIVER is None:
        pytest.skip(f"{CHROMIUM} or chromedriver is not installed (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.parametrize(
    ("page", "shown"),
    [("/docs", ".opblock"), ("/redoc", '[data-section-id*="/operation/"], [id*="operation/"]')],
)
def test_every_operation_is_shown_and_nobody_else_is_asked(browser: Any, address: str, page: str, shown: str) -> None:
    browser.get(address + page)
    deadline = time.monotonic() + PATIENCE_S
    while (found := count(browser, shown)) < OPERATIONS and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found >= OPERATIONS > 20
    assert "Camera frames" in browser.page_source or "Reelmill" in browser.find_element("tag name", "body").text
    asked = requests(browser)
    assert f"{address}/openapi.json" in asked
    outside = {url for url in asked if urlsplit(url).scheme in ("http", "https") and not url.startswith(address)}
    assert outside == set()


def count(browser: Any, selector: str) -> int:
    return int(browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def requests(browser: Any) -> set[str]:
    """The URLs of all requests of the page, without those that the CSP blocked."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = {
        m["params"]["requestId"]: m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    }
    stopped = {
        m["params"]["requestId"]
        for m in messages
        if m["method"] == "Network.loadingFailed" and m["params"].get("blockedReason") == "csp"
    }
    return {url for number, url in sent.items() if number not in stopped}
