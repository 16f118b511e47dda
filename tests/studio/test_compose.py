"""Options are composed beside the picture that the render will have, and the address is the recipe."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from service.routers.videos.request_models import VideoGenerationRequest
from tests.studio.browsing import Studio
from tests.studio.scene import make_dataset, make_experiment
from tests.support.data.media import numbered_picture, png, read_number, tiff
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

# What the form leaves out: the place in the address, what the estimate is, a secret that no link may have.
EXCLUDED = {"experiment_id", "dataset_id", "dry_run", "webhook_url", "preset"}
FIELDS = "return [...document.querySelectorAll('[data-field]')].map((each) => each.dataset.field.split('.')[0])"
SHOWN = """
const image = document.querySelector('img.preview');
if (!image?.complete || !image.naturalWidth || document.querySelector('[aria-busy=true]')) return null;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
canvas.getContext('2d').drawImage(image, 0, 0);
return canvas.toDataURL('image/png').split(',')[1];
"""


@pytest.fixture(scope="module")
def deep(service: RunningService) -> dict[str, Any]:
    """Frames of 16 bits with a ramp from 3,000 to 9,000."""
    ramp = np.tile(np.linspace(3000, 9000, 96), (64, 1)).astype(np.uint16)
    with service.client("alice") as client:
        frames = {f"{number}.tif": tiff(ramp + number) for number in range(2)}
        return make_dataset(client, make_experiment(client, "sixteen bits"), "ramp", frames)


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
    expected = made_picture(alice, plate, 50, {"crop": box, "fps": 30})
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


def test_the_window_is_moved_on_the_histogram(
    service: RunningService, page: Studio, deep: dict[str, Any], alice: httpx.Client
) -> None:
    """Of 16-bit frames, in their own values, with the pointer, and with the arrow keys on a handle."""
    page.size(1280, 900)
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{deep['id']}")
    page.wait_for(".tone", "2 measured frames, 16 bits")
    before = shown_picture(page)
    assert len(page.driver.find_elements("css selector", ".tone rect")) == len(deep["levels"]["histogram"]["shares"])
    handle = page.wait_for(".tone .handle.high")
    reach = page.wait_for(".tone .levels").size["width"]
    ActionChains(page.driver).drag_and_drop_by_offset(handle, -reach // 2, 0).perform()
    page.wait(lambda: "tone.mode=fixed" in page.address(), "the window is not in the address")
    low, high = window_of(page)
    assert low < high < deep["levels"]["percentiles"]["99.65"] - 2000
    page.press("t", Keys.ARROW_RIGHT)
    page.wait(lambda: window_of(page)[0] > low, "the arrow does not move it")
    tone = dict(zip(("low", "high"), window_of(page), strict=True), mode="fixed")
    assert tone["high"] == high
    expected = made_picture(alice, deep, 0, {"tone": tone, "fps": 30})
    page.wait(lambda: np.array_equal(shown_picture(page), expected), "it is not the picture of this window")
    assert not np.array_equal(before, expected)
    page.click("button", "Usual window")
    page.wait(lambda: "tone" not in page.address(), "the window stays")


def test_8_bit_gray_frames_have_a_window_and_coloured_ones_have_none(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    frames = {f"{number}.png": png(np.full((32, 48), 90 + 20 * number, np.uint8)) for number in range(3)}
    gray = make_dataset(alice, make_experiment(alice, "gray"), "gray", frames)
    page.open(f"#/compose/{gray['id']}")
    page.wait_for(".tone", "8 bits; window about 0 to 255")
    page.press("t", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.wait(lambda: "tone.low=" in page.address(), "the window is not in the address")
    low, high = window_of(page)
    assert 0 < low < 10 and high == 255
    page.click("button", "Usual window")
    page.wait(lambda: "tone" not in page.address(), "the window stays")
    page.script("for (const each of document.querySelectorAll('details')) each.open = true")
    choice = Select(page.wait_for("[id='tone.mode']"))
    assert choice.first_selected_option.text == "not set"
    choice.select_by_visible_text("percentile (usual)")
    page.wait(lambda: "tone.mode=percentile" in page.address(), "a tone that is as usual is none")
    page.open(f"#/compose/{plate['id']}")
    page.wait_for(".tone", "A tone is for gray frames")


def test_the_copied_commands_make_the_render(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    token = service.token("alice", SCOPES)
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.sign_in(token)
    page.open(
        f"#/compose/{plate['id']}?frames.stop=6&overlay.text=it%27s+%22here%22+%24HOME&overlay.frame_index=true&quality=41"
    )
    page.wait_for(".estimate", "6 frames")
    jobs = []
    for name, start in (("curl", ["sh", "-c"]), ("Python", [sys.executable, "-c"])):
        page.click("button", f"Copy as {name}")
        page.wait_for(".offer", f"Copied as {name}.")
        command = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        assert token not in command
        environment = {"REELMILL_TOKEN": token, "PATH": os.environ["PATH"], "NO_PROXY": "*"}
        done = subprocess.run(
            [*start, command], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        jobs.append(json.loads(done.stdout)["job_id"])
    assert len(set(jobs)) == 1
    status = api.wait_until_ended(alice, jobs[0])
    assert (status["status"], status["summary"]["frames"]) == ("succeeded", 6)
    assert status["request"]["overlay"]["text"] == 'it\'s "here" $HOME'


def test_composing_again_begins_with_all_that_was_asked_for(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    options = {
        "frames": {"start": 4, "stop": 20}, "decimation_factor": 2, "decimation_mode": "mean", "duration_seconds": 2.5,
        "gaps": "none", "deinterlace": "off", "keep_days": 3, "device": "cpu", "scale": 0.5, "rotate": 90,
        "overlay": {"text": "again", "scale_bar": None}, "outputs": ["keogram"], "codec": "ffv1",
    }  # fmt: skip
    job = api.render(alice, plate, dataset_id=plate["id"], fps=None, **options)["job_id"]
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/renders/{job}")
    page.click("a.button", "Compose again")
    page.wait_for(".estimate", "8 frames are reused")
    page.click("button.primary", "Render")
    page.wait(lambda: f"#/renders/{job}" in page.address(), "it is not the same render")


def test_options_are_kept_taken_and_removed(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    """As presets of the service, which a request can name; one of somebody else can be taken, and not removed."""
    with service.client("bob") as bob:
        public = {"name": "of bob", "options": {"fps": 5, "rotate": 180}, "visibility": "public"}
        made = bob.post("/api/presets", json=public).raise_for_status().json()
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{plate['id']}?fps=12&rotate=90&frame=7")
    page.wait_for("#preset").send_keys("<b>slow</b>", Keys.ENTER)
    page.wait_for(".presets bdi", "<b>slow</b>")
    (kept,) = [row for row in alice.get("/api/presets").json() if row["name"] == "<b>slow</b>"]
    assert kept["options"] == {"decimation_factor": 1, "fps": 12, "rotate": 90}
    page.open(f"#/compose/{plate['id']}?frame=9&quality=10")
    page.click(".presets button", "<b>slow</b>")
    page.wait_for(".estimate", "57 frames, 5 s, ")
    page.wait_for(".pane .caption", "render 270")
    assert page.address().endswith("?fps=12&rotate=90&frame=9")
    page.wait_for(".presets bdi", "of bob")
    assert page.script("return !document.querySelector('[aria-label=\"Remove of bob\"]')"), "it is bob's"
    page.click("button[aria-label='Remove <b>slow</b>']")
    page.click("dialog .danger", "Delete")
    page.wait(
        lambda: "<b>slow</b>" not in page.script("return document.querySelector('.presets').textContent"), "it is there"
    )
    with service.client("bob") as bob:
        bob.delete(f"/api/presets/{made['id']}").raise_for_status()


def test_all_of_it_by_keyboard(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/datasets/{plate['id']}?frame=50")
    page.wait_for(".controls", "plate_0053.jpg")
    page.press("r")
    page.wait_for(".estimate", "57 frames")
    page.press(Keys.ARROW_RIGHT)
    page.wait_for(".counter", "51")
    page.press("c")
    page.press_with_shift(Keys.ARROW_LEFT)
    page.press(Keys.ARROW_RIGHT)
    page.wait(lambda: "crop.x=2" in page.address() and "frame=51" in page.address(), "the crop does not move")
    page.press("b")
    page.wait_for(".compare.wiped")
    page.press("b", "o", Keys.ENTER)
    page.tab_to("#decimation_factor")
    page.press("4")
    draw_again(page)
    page.press(Keys.TAB)
    page.wait_for(".estimate", "15 frames")
    page.tab_to("#fps")
    page.press("0", Keys.TAB)
    page.wait_for("[data-field=fps] .reason")
    page.wait_for(".estimate .bad")
    page.press_with_shift(Keys.TAB)
    page.press("2", "0", Keys.TAB)
    page.wait_for(".estimate", "15 frames, 0.75 s, ")
    page.tab_to("button.primary", back=True)
    page.press(Keys.ENTER)
    page.wait_for(".look video")


def test_keys_that_are_faster_than_the_screen_all_count(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{plate['id']}?crop.x=0&crop.y=0&crop.width=40&crop.height=40")
    page.wait_for(".estimate", "57 frames")
    press = "document.querySelector('.crop').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));"
    page.script(press)
    step = int(crop_of(page, "x")) or page.wait(lambda: int(crop_of(page, "x")), "the crop does not move")
    page.script(press * 4)
    page.wait(lambda: int(crop_of(page, "x")) == 5 * step, "not every key counts")


def crop_of(page: Studio, name: str) -> str:
    return str(page.script("return document.getElementById(arguments[0]).value", f"crop.{name}"))


def draw_again(page: Studio) -> None:
    """As when an estimate arrives while somebody types."""
    page.script("dispatchEvent(new HashChangeEvent('hashchange'))")
    for _ in range(2):
        page.script("return new Promise(requestAnimationFrame)")


def window_of(page: Studio) -> tuple[float, float]:
    """In the address."""
    found = re.findall(r"tone\.(low|high)=([\d.]+)", page.address())
    values = dict(found)
    return float(values["low"]), float(values["high"])


def made_picture(client: httpx.Client, dataset: dict[str, Any], frame: int, options: dict[str, Any]) -> np.ndarray:
    """The picture that the service makes."""
    path = f"/api/datasets/{dataset['id']}/frames/{frame}/preview"
    while (answered := client.post(path, json=options)).status_code == 503:
        pass
    return np.asarray(Image.open(io.BytesIO(answered.raise_for_status().content)).convert("RGB"))


def test_datasets_are_put_side_by_side(service: RunningService, page: Studio, alice: httpx.Client) -> None:
    """Chosen by name; the picture is the render's, and Watch knows what each frame of the grid should be."""
    experiment = make_experiment(alice, "two cameras")
    one, two = (
        make_dataset(alice, experiment, name, {f"{n}.png": png(numbered_picture(n + first)) for n in range(4)})
        for name, first in (("left", 0), ("<b>right</b>", 100))
    )
    page.size(1280, 900)
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{one['id']}?frame=2&codec=ffv1")
    page.wait_for(".estimate", "4 frames")
    page.click(".options summary", "Side by side")
    assert "<b>right</b>" in page.wait_for("[data-field='grid.dataset_ids']").text
    page.click("[data-field='grid.dataset_ids'] input")
    page.wait(lambda: two["id"] in page.address(), "the other dataset is not in the address")
    grid = {"dataset_ids": [one["id"], two["id"]]}
    expected = made_picture(alice, one, 2, {"grid": grid, "codec": "ffv1", "fps": 30})
    page.wait(lambda: np.array_equal(shown_picture(page), expected), "not the picture of the grid")
    assert [read_number(half) for half in np.split(expected, 2, axis=1)] == [2, 102]
    page.click("button.primary", "Render")
    page.wait(lambda: "#/renders/" in page.address(), "no render")
    status = api.wait_until_ended(alice, page.address().split("/")[-1].split("?")[0])
    assert (status["status"], status["options"]["width"]) == ("succeeded", 256)
