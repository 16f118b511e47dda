"""From the link that signs in to a frame of the finished video, by pointer and by keyboard alone."""

import json
from typing import Any

import httpx
from selenium.webdriver.common.keys import Keys

from tests.studio.browsing import Studio
from tests.studio.scene import submit
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

SHOWN_FRAME = "return Number(document.querySelector('.counter').textContent.split('/')[0].replaceAll(',', ''))"


def test_from_the_link_to_a_frame_of_the_video(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    token = service.token("alice", SCOPES)
    page.sign_in(token)
    assert token not in page.address() and token not in page.script(
        "return JSON.stringify(history.state) + document.referrer"
    )
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
    page.wait_for(".estimate", "57 frames")
    page.click("form.render-form button", "Render")
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
    page.wait(lambda: page.script(SHOWN_FRAME) == 23, "frame 23 is not shown")
    page.press(Keys.ARROW_RIGHT)
    page.wait_for(".fate", "plate_0024.jpg")
    page.driver.refresh()
    page.wait_for(".fate", "plate_0024.jpg")
    assert page.wait_for(".downloads a", "Video").get_attribute("download") == f"{job}.mp4"
    page.press("b")
    page.wait(lambda: page.script("return document.querySelector('.beside img')?.naturalWidth"), "no original")


def test_a_render_is_followed_while_it_runs(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    """The list follows by one stream, and the page of the render plays before its end."""
    page.sign_in(service.token("alice", SCOPES))
    job = submit(alice, plate, scale=3, quality=99)
    page.open("#/renders")
    row = f"[data-job='{job}']"
    page.wait_for(f"{row} .facts", "/ 57")
    page.wait_for(f"{row} .facts", "done")
    streams = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in page.driver.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"] and "/events" in entry["message"]
    ]
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
    for _ in range(12):
        if page.script("return document.activeElement.matches('.card a')"):
            break
        page.press(Keys.TAB)
    page.press(Keys.ENTER)
    page.wait_for(".card h2", "camera 1")
    while not page.script("return document.activeElement.matches('.card a')"):
        page.press(Keys.TAB)
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
