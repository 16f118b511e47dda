"""From a folder on the disk to a video on the disk: all that a person does, in one go."""

from pathlib import Path
from typing import Any

import av
import httpx
from selenium.webdriver.common.keys import Keys

from tests.studio import steps
from tests.studio.browsing import Studio
from tests.studio.numbered_frames import BRIGHT, DARK, flawed_jpegs, number_of, write_folder
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
    page.wait(lambda: page.script(steps.PLAYS_EARLY), "nothing plays before the end")
    job = steps.job_of(page)
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"

    page.wait_for(".fate", "fate")
    whole = "return Math.abs(document.querySelector('video').duration - 10) < 0.001"
    page.wait(lambda: page.script(whole), "not all of it is there")
    page.press(Keys.HOME)
    page.wait_for(".counter[data-shown='0']")
    page.press("]")
    page.wait_for(".counter[data-shown='23']")
    for fact in ("held", "cam_0023.jpg", "frame 22"):
        page.wait_for(".fate", fact)
    steps.wait_for_number(page, "video", 22, box)
    page.press("]")
    page.wait_for(".fate", "cam_0031.jpg")
    page.press(Keys.END, "j", Keys.ARROW_RIGHT)
    page.wait_for(".counter[data-shown='270']")
    page.wait_for(".fate", "cam_0273.jpg")
    assert spread(page, "video") > 230, "the window is not in the video"
    steps.wait_for_number(page, "video", 273, box)
    page.press("b")
    steps.wait_for_number(page, ".beside .original img", 273)
    shown = numbers_of(steps.download(page, "Video", tmp_path), box)
    assert as_told(shown, api.receipt_lines(alice, job)) == shown
    assert shown[21:25] == [21, 22, 22, 24] and shown[-1] == 302


def spread(page: Studio, selector: str) -> int:
    row = steps.row_of(page, selector)
    return max(row) - min(row)


def numbers_of(video: Path, box: steps.Box) -> list[int | None]:
    """What each frame of a file shows."""
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return [number_of(list(each[len(each) // 2]), box["x"], box["width"]) for each in pictures]


def as_told(shown: list[int | None], lines: list[dict[str, Any]]) -> list[int | None]:
    """What each frame shows by the receipt; what has another size does not show its number where the others do."""
    told = sorted((line for line in lines if line["output"] is not None), key=lambda line: line["output"])
    assert [line["output"] for line in told] == list(range(len(shown)))
    numbers = {line["source"]: int("".join(filter(str.isdigit, line["key"].split("/")[-1]))) for line in lines}
    sources = [line["source"] if line.get("substituted_from") is None else line["substituted_from"] for line in told]
    return [
        shown[place] if line["outcome"] == "resized" else numbers[source]
        for place, (line, source) in enumerate(zip(told, sources, strict=True))
    ]
