"""From a folder on the disk to a video on the disk: all that a person does, in one go."""

from pathlib import Path
from typing import Any

import httpx
from selenium.webdriver.common.keys import Keys

from tests.studio import steps
from tests.studio.browsing import Studio
from tests.studio.numbered_frames import BRIGHT, DARK, as_told, flawed_jpegs, flawed_tiffs, numbers_of, write_folder
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService


def test_a_folder_with_flaws_becomes_a_video(
    service: RunningService, page: Studio, alice: httpx.Client, tmp_path: Path
) -> None:
    """300 frames, of which one is corrupt and one of another size; after frame 39, three numbers are missing."""
    folder = write_folder(tmp_path / "plate <1>", flawed_jpegs(303))
    page.size(1280, 800)
    page.sign_in(service.token("alice", SCOPES))
    steps.upload_folder(page, "from the disk", folder, 300)
    page.wait_for(".card", "3 missing")
    page.click(".card a", folder.name)
    page.wait_for(".controls", "cam_0000.jpg")
    at = steps.scrub(page, 300)
    page.wait_for(".controls", f"cam_{at + 3:04}.jpg")
    page.wait(lambda: page.address().endswith(f"?frame={at}"), "the address is not of the frame")

    page.click("a.button", "Render…")
    page.wait_for(".estimate", "300 frames")
    box = steps.draw_crop(page)
    steps.wait_for_number(page, "img.preview", at + 3, box)
    for name, value in (("tone.mode", "fixed"), ("tone.low", DARK), ("tone.high", BRIGHT), ("width", 1280)):
        steps.set_option(page, name, str(value))
    page.wait(lambda: spread(page, "img.preview") > 240, "the window is not in the picture of the render")
    page.wait_for(".estimate", "300 frames, 10 s, 1280")
    page.click("button.primary", "Render")
    job = watch_until_the_held_frame(page, alice, "cam_0023.jpg", box)
    page.press("]")
    page.wait_for(".fate", "cam_0031.jpg")
    page.press(Keys.END, "j", Keys.ARROW_RIGHT)
    page.wait_for(".counter[data-shown='270']")
    page.wait_for(".fate", "cam_0273.jpg")
    assert spread(page, "video") > 230, "the window is not in the video"
    steps.wait_for_number(page, "video", 273, box)
    page.press("b")
    steps.wait_for_number(page, ".beside .original img", 273)
    require_told_frames(steps.download(page, "Video", tmp_path), box, api.receipt_lines(alice, job))


def test_deep_frames_become_a_video_by_keyboard_alone(
    service: RunningService, page: Studio, alice: httpx.Client, tmp_path: Path
) -> None:
    """300 frames of 16 bits with the same flaws; a worker makes all that is seen of them. The folder is chosen."""
    folder = write_folder(tmp_path / "deep", flawed_tiffs(303))
    page.size(1280, 800)
    upload_by_keyboard(page, service.token("alice", SCOPES), folder)
    page.wait_for(".card", "3 missing")
    page.tab_to(".card a")
    page.press(Keys.ENTER)
    page.wait_for(".controls", "cam_0000.tif")
    page.press(Keys.END)
    page.wait_for(".controls", "cam_0302.tif")
    page.press_with_shift(Keys.ARROW_LEFT, 10)
    page.wait_for(".controls", "cam_0202.tif")

    box = compose_by_keyboard(page)
    job = watch_until_the_held_frame(page, alice, "cam_0023.tif", box)
    page.press(Keys.END, "b")
    page.wait_for(".fate", "cam_0302.tif")
    steps.wait_for_number(page, ".beside .original img", 302)
    page.tab_to(".downloads a", "Video")
    require_told_frames(steps.download(page, "Video", tmp_path, press=True), box, api.receipt_lines(alice, job))


def watch_until_the_held_frame(page: Studio, alice: httpx.Client, name: str, box: steps.Box) -> str:
    """It plays while it is made; in place of the corrupt frame 23, which has this name, 22 is held. Returns the job."""
    page.wait(lambda: page.script(steps.PLAYS_EARLY), "nothing plays before the end")
    job = steps.job_of(page)
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    page.wait_for(".fate", "fate")
    page.press(Keys.HOME)
    page.wait_for(".counter[data-shown='0']")
    page.press("]")
    page.wait_for(".counter[data-shown='23']")
    for fact in ("held", name, "frame 22"):
        page.wait_for(".fate", fact)
    steps.wait_for_number(page, "video", 22, box)
    return job


def require_told_frames(video: Path, box: steps.Box, lines: list[dict[str, Any]]) -> None:
    """Every frame of the file shows what the receipt says."""
    shown = numbers_of(video, box["x"], box["width"])
    assert as_told(shown, lines) == shown
    assert shown[21:25] == [21, 22, 22, 24] and shown[-1] == 302


def upload_by_keyboard(page: Studio, token: str, folder: Path) -> None:
    page.open("")
    page.wait_for("#token")
    page.press(token, Keys.ENTER)
    page.wait_for(".head button", "New experiment")
    page.press("n")
    page.wait_for("dialog #name")
    page.press("deep", Keys.ENTER)
    page.wait_for(".empty", "Drop a folder here")
    page.tab_to("input[type=file]").send_keys(str(folder))  # in place of the window of the system
    page.wait_for(".uploads", "300 of 300 files")


def compose_by_keyboard(page: Studio) -> steps.Box:
    """A crop, a window and a width, of frame 199, which has the number 202; returns the crop."""
    page.press("r")
    page.wait_for(".estimate", "300 frames")
    page.press("c")
    page.press_with_shift(Keys.ARROW_LEFT, 4)
    page.press(Keys.ARROW_RIGHT)
    page.wait(lambda: "crop.x=1&" in page.address(), "the crop does not move")
    box = steps.crop_of(page)
    page.press("t", *[Keys.ARROW_RIGHT] * 3)
    page.wait(lambda: "tone.mode=fixed" in page.address(), "the window does not move")
    page.tab_to("#width")
    page.press("1", "2", "8", "0", Keys.TAB)
    page.wait_for(".estimate", "300 frames, 10 s, 1280")
    steps.wait_for_number(page, "img.preview", 202, box)
    page.tab_to("button.primary", "Render", back=True)
    page.press(Keys.ENTER)
    return box


def spread(page: Studio, selector: str) -> int:
    row = steps.row_of(page, selector)
    return max(row) - min(row)
