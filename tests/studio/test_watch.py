"""Watch: exact frames of what browsers do not play, what is there of a render, two renders in step, its receipt."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.studio.browsing import Studio
from tests.studio.scene import make_dataset, make_experiment, submit
from tests.support.data.media import tiff
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

# Red, green and blue of a row through the middle of the canvas.
PIXELS = """
const canvas = document.querySelector('canvas.still');
if (!canvas || canvas.width < 2) return null;
const { data } = canvas.getContext('2d').getImageData(0, canvas.height >> 1, canvas.width, 1);
return [...data].filter((_value, place) => place % 4 < 3);
"""


@pytest.fixture(scope="module")
def lossless(service: RunningService, plate: dict[str, Any]) -> str:
    """A finished render that no browser plays."""
    with service.client("alice") as client:
        job = submit(client, plate, codec="ffv1", container="mkv")
        assert api.wait_until_ended(client, job)["status"] == "succeeded"
    return job


def test_what_no_browser_plays_is_stepped_frame_by_frame(
    service: RunningService, page: Studio, lossless: str, alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/renders/{lossless}?frame=7")
    for number in (7, 8):
        page.wait_for(f".counter[data-shown='{number}']")
        exact = Image.open(io.BytesIO(alice.get(f"/api/videos/{lossless}/frames/{number}/image").content)).convert(
            "RGB"
        )
        row = np.asarray(exact)[exact.height // 2].ravel().tolist()
        assert page.script(PIXELS) == row
        page.press(Keys.ARROW_RIGHT)
    page.press("b", "b", "b")
    original = "return document.querySelector('.difference .original img')?.naturalWidth"
    page.wait(lambda: page.script(original), "no picture to compare with")
    page.press(Keys.END, Keys.ARROW_LEFT, Keys.ARROW_LEFT, " ")
    page.wait_for(".counter[data-shown='56']")


def test_two_renders_are_in_step_by_their_source(
    service: RunningService, page: Studio, lossless: str, plate: dict[str, Any], alice: httpx.Client
) -> None:
    """The second has every other frame, and is a video that the browser plays."""
    halved = submit(alice, plate, decimation_factor=2)
    assert api.wait_until_ended(alice, halved)["status"] == "succeeded"
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/renders/{lossless}?frame=10&beside={halved}")
    page.wait_for(".legend", "57 made")
    for number in (10, 11, 12):
        page.wait_for(f".counter[data-shown='{number}']")
        page.wait_for(f".original[data-shown='{number // 2}'] .caption", f": {number // 2}")
        page.press(Keys.ARROW_RIGHT)
    page.wait_for(".with option", "h264")
    assert f"beside={halved}" in page.address()
    page.press("b")
    page.wait_for(".wipe .original video")


# The brightest sample of a difference, before it is shown four times as bright.
DIFFERENCE = """
const [still, image] = ['.difference canvas.still', '.difference .original img'].map((each) => document.querySelector(each));
if (!image?.complete || !image.naturalWidth) return null;
if (image.naturalWidth !== still.width || image.naturalHeight !== still.height) return [image.naturalWidth, image.naturalHeight];
const [one, other] = [still, image].map((picture) => {
  const context = new OffscreenCanvas(still.width, still.height).getContext('2d');
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, still.width, still.height).data;
});
return Math.max(...Array.from({ length: still.height }, (_row, y) => y * still.width * 4).map((at) => Math.abs(one[at] - other[at])));
"""


def test_a_render_is_compared_with_the_picture_that_it_should_have(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    """Cropped, turned and scaled, lossless: the difference is nothing."""
    crop = {"x": 120, "y": 40, "width": 200, "height": 120}
    options = {"crop": crop, "rotate": 90, "scale": 0.5, "overlay": {"frame_index": True}}
    job = submit(alice, plate, codec="ffv1", container="mkv", **options)
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/renders/{job}?frame=31&compare=difference")
    page.wait_for(".counter[data-shown='31']")
    page.wait(lambda: page.script(DIFFERENCE) is not None, "no expected picture")
    assert page.script(DIFFERENCE) == 0


def test_a_grid_is_compared_with_the_picture_that_it_should_have(
    service: RunningService, page: Studio, alice: httpx.Client
) -> None:
    """Each panel of 16-bit frames has a tone of its own, which the preview has, too."""
    experiment = make_experiment(alice, "grid")
    ramp = np.tile(np.linspace(0, 900, 64), (48, 1)).astype(np.uint16)
    first, second = (
        make_dataset(alice, experiment, str(level), {f"{n}.tif": tiff(level + ramp + n) for n in range(4)})
        for level in (1000, 30_000)
    )
    grid = {"dataset_ids": [first["id"], second["id"]], "labels": True}
    job = submit(alice, first, codec="ffv1", grid=grid, tone={"mode": "minmax"})
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/renders/{job}?frame=2&compare=difference")
    page.wait_for(".counter[data-shown='2']")
    page.wait(lambda: page.script(DIFFERENCE) is not None, "no expected picture")
    assert page.script(DIFFERENCE) == 0


# A hundred thousand lines in the table of the receipt, in a place of its own.
LONG_RECEIPT = """
const done = arguments[arguments.length - 1];
const root = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
(async () => {
  const { ReceiptTable } = await import(`${root}views/receipt_table.js`);
  const { render } = await import(`${root}page/dom.js`);
  const place = document.querySelector('main').appendChild(document.createElement('div'));
  const table = new ReceiptTable('0', () => render(place, table.element(0)), (frame) => { window.sought = frame; });
  table.take(Array.from({ length: 100000 }, (_each, at) => ({ output: at, source: at, outcome: at % 1000 === 999 ? 'held' : 'ok', reason: null, key: `f${at}.jpg` })));
  window.table = table;
})().then(() => done(null), (error) => done(String(error)));
"""


def test_a_long_receipt_has_only_the_rows_that_are_seen(service: RunningService, page: Studio) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.wait_for(".head")
    assert page.driver.execute_async_script(LONG_RECEIPT) is None
    rows = "return document.querySelectorAll('.faults tbody tr').length"
    page.wait_for(".receipt button[aria-pressed=true]", "not ok")
    page.wait_for(".faults td", "f999.jpg")
    page.click(".receipt button", "all")
    page.wait_for(".faults td", "f0.jpg")
    assert page.script(rows) < 60
    page.script("window.table.reveal(88888)")
    page.click(".faults button", "88,888")
    assert page.script("return window.sought") == 88888
    assert page.script(rows) < 60
