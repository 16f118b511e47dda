"""Options are composed beside the picture that the render will have, and the address is the recipe."""

import base64
import io
from typing import Any

import httpx
import numpy as np
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from service.routers.videos.request_models import VideoGenerationRequest
from tests.studio.browsing import Studio
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

# What the form leaves out: the place in the address, what the estimate is, a secret that no link may have.
EXCLUDED = {"experiment_id", "dataset_id", "dry_run", "webhook_url"}
FIELDS = "return [...document.querySelectorAll('[data-field]')].map((each) => each.dataset.field.split('.')[0])"
SHOWN = """
const image = document.querySelector('img.preview');
if (!image?.complete || !image.naturalWidth || document.querySelector('[aria-busy=true]')) return null;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
canvas.getContext('2d').drawImage(image, 0, 0);
return canvas.toDataURL('image/png').split(',')[1];
"""


def shown_picture(page: Studio) -> np.ndarray:
    """The picture of the render on the page, when it is of the options that are composed now."""
    data = page.wait(lambda: page.script(SHOWN), "no picture of the render")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_crop_is_drawn_and_the_picture_is_the_renders(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    page.size(1280, 800)
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/datasets/{plate['id']}?frame=50")
    page.click("a.button", "Render…")
    page.wait_for(".estimate", "57 frames")
    assert set(page.script(FIELDS)) == set(VideoGenerationRequest.model_json_schema()["properties"]) - EXCLUDED
    area = page.wait_for(".crop-area")
    corner = (-area.size["width"] // 4, -area.size["height"] // 4)
    far = (area.size["width"] // 2, area.size["height"] // 2)
    pointer = ActionChains(page.driver).move_to_element_with_offset(area, *corner).click_and_hold()
    pointer.move_by_offset(*far).release().perform()
    page.wait(lambda: "crop.width=" in page.address(), "the crop is not in the address")
    page.press("c", Keys.ARROW_RIGHT)
    box = {name: int(crop_of(page, name)) for name in ("x", "y", "width", "height")}
    answered = alice.post(f"/api/datasets/{plate['id']}/frames/50/preview", json={"crop": box, "fps": 30})
    while answered.status_code == 503:
        answered = alice.post(f"/api/datasets/{plate['id']}/frames/50/preview", json={"crop": box, "fps": 30})
    expected = np.asarray(Image.open(io.BytesIO(answered.raise_for_status().content)).convert("RGB"))
    assert np.array_equal(shown_picture(page), expected)
    page.driver.refresh()
    page.wait_for(".estimate", "57 frames")
    assert {name: int(crop_of(page, name)) for name in box} == box
    page.click("button.primary", "Render")
    page.wait_for(".look video")
    options = api.wait_until_ended(alice, page.address().split("/")[-1].split("?")[0])["options"]
    assert (options["height"], options["width"]) == expected.shape[:2]
    page.click("a.button", "Compose again")
    page.wait_for(".estimate", "57 frames are reused")


def test_a_refused_option_is_marked_where_it_is(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{plate['id']}?fps=30&crop.x=0&crop.y=0&crop.width=9000&crop.height=20&quality=70")
    page.wait_for("[data-field^='crop.'] .reason")
    assert page.script("return document.querySelector('button.primary').disabled")
    page.open(f"#/compose/{plate['id']}?quality=700")
    page.wait_for("[data-field=quality] .reason")


def crop_of(page: Studio, name: str) -> str:
    return str(page.script("return document.getElementById(arguments[0]).value", f"crop.{name}"))
