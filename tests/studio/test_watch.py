"""Watch: exact frames of what browsers do not play, what is there of a render, two renders in step, its receipt."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.studio.browsing import Studio
from tests.studio.scene import submit
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
