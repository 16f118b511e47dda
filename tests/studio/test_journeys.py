"""From the link that signs in to a frame of the finished video, by pointer and by keyboard alone."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from tests.studio.browsing import Studio
from tests.studio.scene import colony_jpeg, make_dataset, make_experiment, submit
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

# A progress bar is there only while the render has not ended.
PLAYS_EARLY = """
const video = document.querySelector('video');
return video?.currentTime > 0 && video.src.startsWith('blob:') && document.querySelector('.side .bar') !== null;
"""
SHOWN_FRAME = "return Number(document.querySelector('.counter').textContent.split('/')[0].replaceAll(',', ''))"


def test_from_the_link_to_a_frame_of_the_video(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    token = service.token("alice", SCOPES)
    page.sign_in(token)
    assert token not in page.address()
    asked = page.requests()
    assert asked and not [each for each in asked if token in each["url"] or token in str(each["headers"])]
    page.click(".card a", "Aspergillus")
    page.click(".card a", "camera 1")
    page.wait_for(".counter")
    page.wait_for(".controls", "plate_0000.jpg")
    page.press("]", "]")
    page.wait_for(".controls", "3 missing")
    assert page.address().endswith("?frame=40")
    page.script("history.back()")
    page.wait_for("h1", "Aspergillus")
    page.script("history.forward()")
    page.wait_for(".controls", "plate_0043.jpg")
    page.click("a.button", "Render…")
    page.wait_for(".estimate", "57 frames")
    page.click("button.primary", "Render")
    page.wait_for(".look video")
    job = page.address().split("/")[-1].split("?")[0]
    page.wait_for(".course, .side", "done")
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    page.wait_for(
        "[aria-label=Facts]", "Every frame" if not api.receipt_lines(alice, job) else "Not as they should be".upper()
    )
    page.wait_for(".faults button", "23").click()
    page.wait_for(".fate", "held")
    page.wait_for(".fate", "plate_0023.jpg")
    page.wait_for(".counter[data-shown='23']")
    page.press(Keys.ARROW_RIGHT)
    page.wait_for(".fate", "plate_0024.jpg")
    page.driver.refresh()
    page.wait_for(".fate", "plate_0024.jpg")
    assert page.wait_for(".downloads a", "Video").get_attribute("download") == f"{job}.mp4"
    for mode in ("beside", "wipe", "difference"):
        page.press("b")
        original = f"return document.querySelector('.{mode} .original img')?.naturalWidth"
        page.wait(lambda original=original: page.script(original), f"no original to {mode}")
    assert "compare=difference" in page.address()


def test_a_render_is_followed_while_it_runs(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    """The list follows by one stream, and the page of the render plays before its end."""
    page.sign_in(service.token("alice", SCOPES))
    job = submit(alice, plate, scale=2)
    page.open("#/renders")
    row = f"[data-job='{job}']"
    page.wait_for(f"{row} .facts", "/ 57")
    page.wait_for(f"{row} .facts", "done")
    streams = [each["url"] for each in page.requests() if "/events" in each["url"]]
    assert streams and all(url.startswith(f"{service.url}/api/videos/events?job=") for url in streams)
    page.click(f"{row} button", "Delete")
    page.click("dialog button.danger", "Delete")
    page.wait(lambda: alice.get(f"/api/videos/{job}").status_code == 404, "it is not deleted")
    page.wait(lambda: page.script("return !document.querySelector(arguments[0])", row), "it is still shown")


def test_by_keyboard_alone(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.open("")
    page.wait_for("#token")
    page.press(service.token("alice", SCOPES), Keys.ENTER)
    page.wait_for(".card h2", "Aspergillus")
    page.press("?")
    page.wait_for("dialog.keys", "go to the renders")
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.script("return !document.querySelector('dialog')"), "the keys are still shown")
    page.press("/", *"Aspergillus", Keys.TAB)
    page.wait(lambda: "q=Aspergillus" in page.address(), "the search is not in the address")
    page.wait(lambda: page.script("return document.querySelectorAll('.card').length === 1"), "not only what was found")
    page.tab_to(".card a")
    page.press(Keys.ENTER)
    page.wait_for(".card h2", "camera 1")
    page.tab_to(".card a")
    page.press(Keys.ENTER)
    page.wait_for(".controls", "plate_0000.jpg")
    page.press(Keys.END)
    page.wait_for(".controls", "plate_0059.jpg")
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT, "j")
    page.wait(lambda: page.script(SHOWN_FRAME) < 50, "it does not play back")
    page.press("k", Keys.HOME, "u")
    page.wait_for("h1", "Aspergillus")
    page.press("g", "r")
    page.wait_for("h1", "Renders")


def test_it_plays_while_it_is_rendered(service: RunningService, page: Studio, alice: httpx.Client) -> None:
    """Parts that are made are played at once; a frame that is not made yet is waited for where somebody goes to it."""
    frames = {f"f{number:03}.jpg": colony_jpeg(number, (240, 136), 240) for number in range(240)}
    dataset = make_dataset(alice, make_experiment(alice, "played early"), "camera", frames)
    page.sign_in(service.token("alice", SCOPES))
    job = submit(alice, dataset, scale=5)
    page.open(f"#/renders/{job}")
    page.wait(lambda: page.script(PLAYS_EARLY), "nothing plays before the end")
    page.press(Keys.END)
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    page.wait_for(".counter[data-shown='239']")
    page.press("j", Keys.ARROW_LEFT)
    page.wait_for(".fate", "f208.jpg")
    page.wait_for(".counter[data-shown='208']")


@pytest.mark.parametrize("fields", [{"timing": "captured", "speed": 60}, {"codec": "av1"}], ids=["captured", "av1"])
def test_a_link_to_a_frame_shows_that_frame(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client, fields: dict[str, Any]
) -> None:
    """Also where pictures do not follow evenly: then the video's own table says when each is shown."""
    job = api.render(alice, plate, dataset_id=plate["id"], **fields)["job_id"]
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/renders/{job}?frame=41")
    page.wait_for(".counter[data-shown='41']")
    page.wait_for(".fate", "plate_0044.jpg")
    page.press(Keys.ARROW_RIGHT)
    page.wait_for(".counter[data-shown='42']")
    page.wait_for(".fate", "plate_0045.jpg")


def test_a_folder_is_dropped_and_gone_on_with_after_a_reload(
    service: RunningService, page: Studio, alice: httpx.Client, tmp_path: Path
) -> None:
    folder = tmp_path / "plate <9>"
    (folder / "night").mkdir(parents=True)
    for number in (1, 2, 10):
        (folder / f"f{number}.jpg").write_bytes(colony_jpeg(number, (64, 48)))
    (folder / "night" / "ä 1.jpg").write_bytes(colony_jpeg(50, (64, 48)))
    (folder / ".hidden").write_bytes(b"no frame")
    page.sign_in(service.token("alice", SCOPES))
    page.press("n")
    page.wait_for("dialog #name").send_keys("uploaded", Keys.ENTER)
    page.wait_for(".empty", "Drop a folder here")
    page.drop(folder)
    page.wait_for(".uploads", "4 of 4 files")
    page.wait_for(".card", "4 frames")
    (folder / "f11.jpg").write_bytes(colony_jpeg(11, (64, 48)))
    page.driver.refresh()
    page.wait_for(".card", "4 frames")
    page.driver.find_element("css selector", "input[type=file]").send_keys(str(folder))
    page.wait_for(".uploads", "4 were there")
    page.wait_for(".card", "5 frames")
    experiment = page.address().split("/")[-1]
    (dataset,) = alice.get(f"/api/experiments/{experiment}/datasets").json()
    frames = alice.get(f"/api/datasets/{dataset['id']}/frames").json()
    names = [frame["key"].removeprefix(dataset["prefix"]) for frame in frames]
    assert (dataset["name"], names) == ("plate <9>", ["f1.jpg", "f2.jpg", "f10.jpg", "f11.jpg", "night/ä 1.jpg"])
