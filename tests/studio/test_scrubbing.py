"""While the pointer moves over the time line, small pictures come from sheets, and the sharp one when the hand rests."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains

from tests.studio.browsing import Studio
from tests.studio.scene import make_dataset, make_experiment
from tests.support.processes.running_service import SCOPES, RunningService

FRAMES = 60
# The brightness in the middle of the picture that is shown, from 0 to 255.
BRIGHTNESS = """
const canvas = document.querySelector('canvas.picture');
return canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
"""


def deep_tiff(number: int) -> bytes:
    """16 bits: no browser shows it, so a worker makes every picture of it. Each frame is brighter than the one before."""
    file = io.BytesIO()
    Image.fromarray(np.full((270, 480), 1000 + number * 900, np.uint16)).save(file, "TIFF")
    return file.getvalue()


@pytest.fixture(scope="module")
def deep(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        files = {f"deep_{number:03}.tif": deep_tiff(number) for number in range(FRAMES)}
        return make_dataset(client, make_experiment(client, "Deep"), "sensor", files)


def test_frames_that_no_browser_shows_are_scrubbed_by_sheets(
    service: RunningService, page: Studio, deep: dict[str, Any], alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/datasets/{deep['id']}")
    page.wait_for(".counter")
    page.wait(lambda: requested_addresses(page, "/thumbnails"), "no description of the sheets")
    line = page.wait_for("canvas.track")
    width = line.size["width"]
    pointer = ActionChains(page.driver, duration=0).move_to_element_with_offset(line, 0, 0).click_and_hold()
    pointer.perform()
    page.wait(lambda: requested_addresses(page, "/thumbnails/0/0"), "no sheet")
    before = len(requested_addresses(page, "width=640"))
    for place in (-0.39, -0.21, 0.11, 0.39):  # from the middle of the line, in its width
        ActionChains(page.driver, duration=0).move_to_element_with_offset(line, int(place * width), 0).perform()
        expected = int((0.5 + place) * FRAMES)
        page.wait(lambda: shown_frame(page) == expected, f"not frame {expected}")  # noqa: B023
        page.wait(lambda: is_picture_of(page, expected), f"no picture of frame {expected}")  # noqa: B023
    assert len(requested_addresses(page, "width=640")) == before, "no picture was made for a moment"
    ActionChains(page.driver).release().perform()
    page.wait(lambda: requested_addresses(page, f"/frames/{expected}/image?width=1920"), "no sharp picture")


def is_picture_of(page: Studio, number: int) -> bool:
    """Whether its brightness is shown: black for the darkest frame, white for the brightest."""
    shown: int = page.script(BRIGHTNESS)
    return abs(shown - 255 * number / (FRAMES - 1)) < 3


def shown_frame(page: Studio) -> int:
    return int(page.script("return document.querySelector('.counter').textContent.split('/')[0]"))


def requested_addresses(page: Studio, part: str) -> list[str]:
    return [
        name
        for name in page.script("return performance.getEntriesByType('resource').map((each) => each.name)")
        if part in name
    ]


def test_deep_values_are_shown_as_measured(
    service: RunningService, page: Studio, deep: dict[str, Any], alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/datasets/{deep['id']}?frame=20")
    picture = page.wait_for("canvas.picture")
    page.wait(lambda: is_picture_of(page, 20), "no picture")
    ActionChains(page.driver).move_to_element(picture).perform()
    page.wait_for_text("measured 19000")
    assert "measured values, 1,000 to 54,100" in page.text()
