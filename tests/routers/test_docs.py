"""/docs and /redoc show every operation in a real browser that may ask nobody else."""

import hashlib
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

import pytest
import uvicorn

from service.app import create_app
from service.routers.docs import ASSETS, MEDIA_TYPES
from tests.routers.conftest import resources

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


def recorded() -> dict[str, str]:
    """sha256 by name, from VENDORED.txt."""
    text = (ASSETS / "VENDORED.txt").read_text()
    return {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", text, re.MULTILINE)}


def test_vendored_files_are_those_that_were_published() -> None:
    names = {path.name for path in ASSETS.iterdir()} - {"VENDORED.txt", "swagger-start.js", "icon.svg"}
    assert recorded().keys() == names
    for name, digest in recorded().items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert {"swagger-ui.LICENSE", "redoc.LICENSE"} <= names and MEDIA_TYPES.keys() <= names | {
        "swagger-start.js",
        "icon.svg",
    }


def test_wheels_contain_them() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r'"service\.routers" = \[[^]]*"assets/\*"', project)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The API behind a real server on a free port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
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
    deadline = time.monotonic() + 60
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
    """The addresses of all requests that left the page; those that the CSP stopped never did."""
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
