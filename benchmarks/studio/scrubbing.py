"""The pointer moves over the time line of a long dataset: pictures shown, how soon they are sharp, memory."""

import time
from statistics import median
from typing import Any

from benchmarks.studio.browser import Page

GOAL_SHOWN, GOAL_CACHED_MS, GOAL_NEW_MS, GOAL_GROWTH_MB = 50.0, 300.0, 800.0, 3.0
# What is drawn on the picture's canvas (of a sheet: how wide the part is), and when; and a pointer that moves once for
# every frame of the browser.
WATCH = """
const draw = CanvasRenderingContext2D.prototype.drawImage;
window.drawn = [];
CanvasRenderingContext2D.prototype.drawImage = function (image, ...place) {
  const width = place.length > 4 ? place[2] : image.width;
  if (this.canvas.classList?.contains("picture")) window.drawn.push({ at: performance.now(), width });
  return draw.call(this, image, ...place);
};
window.nextFrame = () => new Promise(requestAnimationFrame);
window.point = (place) => {
  const line = document.querySelector(".timeline"), box = line.getBoundingClientRect();
  const at = { clientX: box.left + place * box.width, clientY: box.top + 2, buttons: 1, pointerId: 1 };
  line.dispatchEvent(new PointerEvent("pointermove", { ...at, bubbles: true }));
};
"""
SWEEP = """
const [seconds, done] = arguments;
(async () => {
  window.drawn = [];
  const begun = performance.now();
  let moves = 0, shown = 0;
  for (let now = begun; now - begun < seconds * 1000; now = performance.now()) {
    const before = window.drawn.length;
    point(0.5 - 0.49 * Math.cos((now - begun) / 1300));
    moves += 1;
    await nextFrame();
    shown += window.drawn.length > before;
    if (window.drawn.length > 1000) window.drawn = [];
  }
  done({ shown, moves, seconds: (performance.now() - begun) / 1000 });
})();
"""
# From the last move of the pointer until a picture that is wider than a thumbnail is drawn.
REST = """
const [place, wide, limit, done] = arguments;
(async () => {
  for (let step = 6; step > 0; step--) { point(place + step / 200); await nextFrame(); }
  window.drawn = [];
  const begun = performance.now();
  point(place);
  const isOver = () => window.drawn.some((each) => each.width >= wide) || performance.now() - begun > limit;
  while (!isOver()) await nextFrame();
  const sharp = window.drawn.find((each) => each.width >= wide);
  done(sharp ? sharp.at - begun : null);
})();
"""
MOST_SWEEPS = 20
LEAST_SHARP_WIDTH, REST_LIMIT_MS = 300, 60_000


def measure(page: Page, dataset: str, rests: int, minutes: float) -> list[dict[str, Any]]:
    """A row of pictures shown and of rests, and one of memory."""
    _hold_time_line(page, dataset)
    sheets_s = _wait_for_sheets(page)
    swept = page.driver.execute_async_script(SWEEP, 6)
    places = [0.05 + 0.85 * (number + 0.37) / rests for number in range(rests)]
    new = [_rest(page, place) for place in places]
    page.command("Network.clearBrowserCache")
    _hold_time_line(page, dataset)
    page.driver.execute_async_script(SWEEP, 2)
    cached = [_rest(page, place) for place in places]
    row = {
        "figure": "scrubbing",
        "shown_per_s": round(swept["shown"] / swept["seconds"], 1),
        "moves_per_s": round(swept["moves"] / swept["seconds"], 1),
        "sheets_s": sheets_s,
        "cached_ms": _middle(cached),
        "not_cached_ms": _middle(new),
        "rests": rests,
        "never_sharp": sum(each is None for each in new + cached),
    }
    return [row, _measure_memory(page, minutes)]


def _wait_for_sheets(page: Page) -> float:
    """Move the pointer until the sheets of the whole time line are made and loaded; seconds that it took."""
    begun = time.monotonic()
    for _ in range(MOST_SWEEPS):
        swept = page.driver.execute_async_script(SWEEP, 4)
        if swept["shown"] > 0.9 * swept["moves"]:
            break
    return round(time.monotonic() - begun, 1)


def _hold_time_line(page: Page, dataset: str) -> None:
    """Open the dataset, and press the button of the mouse on its time line."""
    from selenium.webdriver.common.action_chains import ActionChains

    page.open(f"#/datasets/{dataset}")
    page.wait("performance.getEntriesByType('resource').some((each) => each.name.endsWith('/thumbnails'))")
    page.wait("document.querySelector('.timeline')?.clientWidth")
    page.driver.execute_script(WATCH)
    line = page.driver.find_element("css selector", "canvas.track")
    ActionChains(page.driver, duration=0).move_to_element(line).click_and_hold().perform()
    page.wait("window.drawn.length")


def _rest(page: Page, place: float) -> float | None:
    found: float | None = page.driver.execute_async_script(REST, place, LEAST_SHARP_WIDTH, REST_LIMIT_MS)
    return found


def _middle(milliseconds: list[float | None]) -> float | None:
    known = [each for each in milliseconds if each is not None]
    return round(median(known)) if known else None


def _measure_memory(page: Page, minutes: float) -> dict[str, Any]:
    """Sweeps and rests in turn; memory before, and after each tenth of the time."""
    begun, readings = time.monotonic(), [page.memory()]
    for tenth in range(1, 11):
        while time.monotonic() - begun < tenth * minutes * 6:
            page.driver.execute_async_script(SWEEP, min(minutes * 6, 3))
            _rest(page, 0.05 + 0.09 * (tenth - 1))
        readings.append(page.memory())
    return {"figure": "memory", "minutes": minutes} | {name: [each[name] for each in readings] for name in readings[0]}
