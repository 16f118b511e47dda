"""What a person does on the way from a folder of frames to a video on the disk."""

from pathlib import Path

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.studio.browsing import Studio
from tests.studio.numbered_frames import SIZE, number_of

# A progress bar is there only while the render has not ended.
PLAYS_EARLY = """
const video = document.querySelector('video');
return video?.currentTime > 0 && video.src.startsWith('blob:') && document.querySelector('.side .bar') !== null;
"""
# The brightness of the middle row of a picture or video, in pixels of its own.
MIDDLE_ROW = """
const shown = document.querySelector(arguments[0]);
const [width, height] = [shown?.videoWidth ?? shown?.naturalWidth, shown?.videoHeight ?? shown?.naturalHeight];
if (!width || shown.closest('[aria-busy=true]')) return null;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [width, 1];
canvas.getContext('2d').drawImage(shown, 0, -Math.floor(height / 2));
return [...canvas.getContext('2d').getImageData(0, 0, width, 1).data].filter((_value, place) => place % 4 === 1);
"""
OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true"
Box = dict[str, int]


def upload_folder(page: Studio, name: str, folder: Path, files: int) -> None:
    """Make an experiment and drop the folder onto it; wait until it is there and scanned."""
    start_upload(page, name, folder)
    page.wait_for(".uploads", f"{files} of {files} files")
    page.wait_for(".card", f"{files} frames")


def start_upload(page: Studio, name: str, folder: Path) -> None:
    page.press("g", "e")
    page.wait_for(".head button", "New experiment")
    page.press("n")
    page.wait_for("dialog #name").send_keys(name, Keys.ENTER)
    page.wait_for(".empty", "Drop a folder here")
    page.drop(folder)


def scrub(page: Studio, total: int) -> int:
    """Drag along the time line; returns the frame where the pointer rests."""
    line = page.wait_for("canvas.track")
    width = line.size["width"]
    ActionChains(page.driver, duration=0).move_to_element_with_offset(line, 0, 0).click_and_hold().perform()
    for place in (-0.4, 0.1, 0.35):  # from the middle of the line, in its width
        ActionChains(page.driver, duration=0).move_to_element_with_offset(line, int(place * width), 0).perform()
        page.wait(lambda: abs(frame_shown(page) - (0.5 + place) * total) <= 2, f"not at {place}")  # noqa: B023
    ActionChains(page.driver).release().perform()
    return frame_shown(page)


def frame_shown(page: Studio) -> int:
    return int(page.wait_for(".counter").text.split("/")[0].replace(",", ""))


def draw_crop(page: Studio) -> Box:
    """The middle of the frame, drawn with the pointer; returns what became of it."""
    area = page.wait_for(".crop-area")
    width, height = area.size["width"], area.size["height"]
    pointer = ActionChains(page.driver).move_to_element_with_offset(area, int(-0.3 * width), int(-0.25 * height))
    pointer.click_and_hold().move_by_offset(int(0.6 * width), int(0.5 * height)).release().perform()
    page.wait(lambda: "crop.width=" in page.address(), "the crop is not in the address")
    return crop_of(page)


def crop_of(page: Studio) -> Box:
    """What the fields of the crop say."""
    value = "return Number(document.getElementById(arguments[0]).value)"
    return {name: page.script(value, f"crop.{name}") for name in ("x", "y", "width", "height")}


def set_option(page: Studio, name: str, value: str) -> None:
    page.script(OPEN_ALL)
    field = page.driver.find_element("id", name)
    if field.tag_name == "select":
        Select(field).select_by_visible_text(value)
    else:
        field.clear()
        field.send_keys(value, Keys.TAB)
    page.wait(lambda: f"{name}={value}" in page.address(), f"{name} is not in the address")


def row_of(page: Studio, selector: str) -> list[int]:
    return list(page.wait(lambda: page.script(MIDDLE_ROW, selector), f"no picture in {selector}"))


def wait_for_number(page: Studio, selector: str, number: int, box: Box | None = None) -> None:
    """Wait until the picture shows this frame."""
    left, width = (box["x"], box["width"]) if box else (0, SIZE[0])
    seen = f"{selector} does not show frame {number}"
    page.wait(lambda: number_of(row_of(page, selector), left, width) == number, seen)


def download(page: Studio, name: str, folder: Path, *, press: bool = False) -> Path:
    """Click a file of the render, or press Enter on it, and wait until the browser has stored it."""
    behaviour = {"behavior": "allow", "downloadPath": str(folder)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    link = page.wait_for(".downloads a", name)
    file = folder / str(link.get_attribute("download"))
    if press:
        page.press(Keys.ENTER)
    else:
        page.click(".downloads a", name)
    page.wait(file.exists, f"{file.name} was not downloaded")
    return file


def job_of(page: Studio) -> str:
    return page.address().split("/")[-1].split("?")[0]
