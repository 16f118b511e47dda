"""What a person waits for: the first view on a browser that knows nothing yet, and a list of very many renders."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from typing import Any

from benchmarks.studio.browser import Page

GOAL_BYTES, GOAL_FIRST_S, GOAL_FRAMES = 150_000, 1.0, 50.0
# When the first cards stand in the page: noted before any of its own scripts run.
NOTE_CONTENT = """
new MutationObserver((_changes, observer) => {
  if (!document.querySelector(SELECTOR)) return;
  observer.disconnect();
  requestAnimationFrame(() => { window.contentAt = performance.now(); });
}).observe(document, { childList: true, subtree: true });
"""
SCROLL = """
const [seconds, done] = arguments;
(async () => {
  const long = [], times = [];
  const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map((each) => each.duration)));
  observer.observe({ type: "longtask" });
  const area = document.scrollingElement, begun = performance.now();
  for (let now = begun; now - begun < seconds * 1000; now = performance.now()) {
    area.scrollTop = (0.5 - 0.5 * Math.cos((now - begun) / 900)) * (area.scrollHeight - area.clientHeight);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - now);
  }
  observer.disconnect();
  times.sort((one, other) => one - other);
  done({
    frames_per_s: times.length / ((performance.now() - begun) / 1000),
    p99_ms: times[Math.floor(times.length * 0.99)],
    long_tasks: long.length,
    longest_ms: Math.max(0, ...long),
  });
})();
"""
Open = Callable[[], AbstractContextManager[Page]]


def measure_first_view(browser: Open, token: str, times: int) -> dict[str, Any]:
    """Each time a browser with an empty profile follows the link that signs in, until experiments are shown."""
    found = [_first_view(browser, token) for _ in range(times)]
    return {
        "figure": "first view",
        "times": times,
        "seconds": round(median(each["seconds"] for each in found), 3),
        "slowest_s": round(max(each["seconds"] for each in found), 3),
        **{name: max(each[name] for each in found) for name in ("page_bytes", "api_bytes", "requests")},
    }


def _first_view(browser: Open, token: str) -> dict[str, float]:
    with browser() as page:
        _note_content(page, "a[href*='#/experiments/']")
        page.messages()
        page.driver.get(f"{page.url}/#token={token}")
        page.wait("window.contentAt")
        seconds = page.driver.execute_script("return window.contentAt") / 1000
        return {"seconds": seconds} | _sent(page)


def _sent(page: Page) -> dict[str, float]:
    """Bytes of answers with their heads: the page's own files, and what it asked the API for."""
    messages = page.messages()
    answers = [each["params"] for each in messages if each["method"] == "Network.responseReceived"]
    own = {each["requestId"] for each in answers if "/api/" not in each["response"]["url"]}
    ended = [each["params"] for each in messages if each["method"] == "Network.loadingFinished"]
    page_bytes = sum(each["encodedDataLength"] for each in ended if each["requestId"] in own)
    total = sum(each["encodedDataLength"] for each in ended)
    return {"page_bytes": int(page_bytes), "api_bytes": int(total - page_bytes), "requests": len(ended)}


def measure_list(page: Page, renders: int, times: int) -> dict[str, Any]:
    """The first rows after a whole load of the page, and scrolling over them while the list is asked for again."""
    _note_content(page, "li.render")
    seconds = []
    for _ in range(times):
        page.open("#/renders")
        page.wait("window.contentAt")
        seconds.append(page.driver.execute_script("return window.contentAt") / 1000)
    scrolled = page.driver.execute_async_script(SCROLL, 12)
    return {"figure": "list", "renders": renders, "first_rows_s": round(median(seconds), 3)} | {
        name: round(value, 1) for name, value in scrolled.items()
    }


def _note_content(page: Page, selector: str) -> None:
    page.command("Page.addScriptToEvaluateOnNewDocument", source=NOTE_CONTENT.replace("SELECTOR", json.dumps(selector)))
