"""Chromium on the Studio: what a person does, and what the browser reports."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE_S
from tests.support.servers.browser import chromium

# Reports of a policy that was broken, and errors that nobody caught, from the first script on.
WATCH = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (event) => reports.push(`${event.violatedDirective} ${event.blockedURI}`));
window.addEventListener("error", (event) => reports.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => reports.push(String(event.reason)));
"""


@dataclass(frozen=True)
class Studio:
    """The page in a browser."""

    driver: Any
    url: str

    def open(self, address: str) -> None:
        """A whole load of the page at what is behind `/`."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{address}")

    def sign_in(self, token: str) -> None:
        self.open(f"#token={token}")
        self.wait_for("header.top")

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}; the page says: {self.text()[:600]}"
            time.sleep(0.05)
        return found

    def wait_for(self, selector: str, text: str = "") -> Any:
        """The first element of a selector that has a text."""
        find = (
            "return [...document.querySelectorAll(arguments[0])].find((each) => each.innerText.includes(arguments[1]))"
        )
        return self.wait(lambda: self.script(find, selector, text), f"no {selector} with {text!r}")

    def wait_for_text(self, text: str) -> None:
        self.wait(lambda: text in self.text(), f"no {text!r}")

    def click(self, selector: str, text: str = "") -> None:
        """As a person does: scrolled no further than into view, where nothing may lie over it."""
        element = self.wait_for(selector, text)
        self.script("arguments[0].scrollIntoView({block: 'nearest'})", element)
        element.click()

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def press_with_shift(self, key: str, times: int = 1) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        for _ in range(times):
            ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT).perform()

    def tab_to(self, selector: str, text: str = "", *, back: bool = False) -> Any:
        """Tab on, or back, to the first control of a selector that has a text."""
        has_focus = (
            "const found = document.activeElement;"
            "return found.matches(arguments[0]) && found.innerText.includes(arguments[1]) ? found : null"
        )
        for _ in range(120):
            if found := self.script(has_focus, selector, text):
                return found
            if back:
                self.press_with_shift("\ue004")
            else:
                self.press("\ue004")
        raise AssertionError(f"the keyboard does not reach {selector} {text!r}")

    def text(self) -> str:
        return str(self.script("return document.body.innerText"))

    def address(self) -> str:
        return str(self.script("return location.href")).removeprefix(self.url)

    def theme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int, scale: float = 1) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def picture(self, path: Path) -> None:
        path.write_bytes(self.driver.get_screenshot_as_png())

    def reports(self) -> list[str]:
        """Broken policies, uncaught errors, and what the console has as an error, so far."""
        console = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return list(self.script("return window.reports ?? ['nobody watches']")) + console

    def requests(self) -> list[dict[str, Any]]:
        """What was asked for since the last call: `url`, `headers`."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [each["params"]["request"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def drop(self, path: Path) -> None:
        """A file or folder, dragged from the desktop onto the middle of the page."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for event in ("dragEnter", "dragOver", "drop"):
            place = {"type": event, "x": 500, "y": 400, "data": data}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", place)

    def offline(self, *, away: bool) -> None:
        """Whether nothing can be reached."""
        self._network(offline=away)

    def throttle(self, bytes_per_s: int | None) -> None:
        """How fast the browser sends; None: as fast as it can."""
        self._network(uploadThroughput=bytes_per_s or -1)

    def _network(self, **conditions: Any) -> None:
        usual = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", usual | conditions)


@contextmanager
def studio(url: str, profile: Path) -> Iterator[Studio]:
    """Chromium that has not signed in yet, and reports from the first script on."""
    with chromium(profile) as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        driver.execute_cdp_cmd("Network.enable", {})
        yield Studio(driver, url)
