"""Debian's Chromium as a person with the page has it: a profile of its own, and what the browser tells of itself."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process_stats import private_memory_mb

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
SIZE = "--window-size=1440,900"
WAIT_S = 300


class BrowserError(Exception):
    """The page cannot be measured; the text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """The Studio in one browser."""

    driver: Any
    url: str

    def open(self, address: str) -> None:
        """A whole load of the page at what is behind `/`."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{address}")

    def sign_in(self, token: str) -> None:
        self.open(f"#token={token}")
        self.wait("document.querySelector('header.top')")

    def wait(self, condition: str) -> None:
        """Until an expression of the page is true."""
        deadline = time.monotonic() + WAIT_S
        while not self.driver.execute_script(f"return Boolean({condition})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"after {WAIT_S} s still not: {condition}")
            time.sleep(0.05)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def messages(self) -> list[dict[str, Any]]:
        """The protocol's events since the last call: `method`, `params`."""
        return [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]

    def memory(self) -> dict[str, float]:
        """What scripts hold after garbage was collected, how many nodes there are, and the process of the page."""
        self.command("HeapProfiler.collectGarbage")
        found = {each["name"]: each["value"] for each in self.command("Performance.getMetrics")["metrics"]}
        processes = [private_memory_mb(pid) for pid in _renderers(self.driver.service.process.pid)]
        return {
            "heap_mb": round(found["JSHeapUsedSize"] / 1e6, 2),
            "nodes": int(found["Nodes"]),
            "process_mb": max(processes, default=0.0),
        }


@contextmanager
def open_browser(url: str) -> Iterator[Page]:
    """Chromium with an empty profile. Raises BrowserError where it, or its driver, is not installed."""
    driver_path = shutil.which("chromedriver")
    if not CHROMIUM.exists() or driver_path is None:
        raise BrowserError(f"{CHROMIUM} or chromedriver is missing (Debian: apt-get install chromium chromium-driver)")
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
    except ImportError as error:
        raise BrowserError("selenium is missing (pip install -e '.[dev]')") from error
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    with tempfile.TemporaryDirectory(prefix="reelmill-browser-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, SIZE, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        try:
            with webdriver.Chrome(options, webdriver.ChromeService(driver_path)) as driver:
                driver.set_script_timeout(2 * WAIT_S)
                for domain in ("Network", "Performance"):
                    driver.execute_cdp_cmd(f"{domain}.enable", {})
                yield Page(driver, url)
        except WebDriverException as error:
            raise BrowserError(f"the browser: {error.msg}") from error


def _renderers(root: int) -> list[int]:
    """Descendants of a process that draw pages."""
    parents, renderers = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (path / "cmdline").read_bytes():
                renderers.append(int(path.name))
        except OSError:
            continue
    return [pid for pid in renderers if root in _ancestors(pid, parents)]


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid
