"""The way from a folder to a video while the API is killed, twice; and a language model that is away."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from service.embedded.cluster import find_free_port
from tests.studio import steps
from tests.studio.browsing import Studio, studio
from tests.studio.numbered_frames import gray_jpeg, write_folder
from tests.support.processes import api
from tests.support.processes.up import RunningUp, running_up

FRAMES = 300
# What the service answers by design while there is nothing to play, and no answer at all.
DESIGNED = re.compile(r"status of (409|503)|net::ERR_")
BYTES_PER_S = 30_000
SENT = "return Number(document.querySelector('.uploads [role=progressbar]')?.getAttribute('aria-valuenow') ?? 0)"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """A service of its own, whose API may be killed, and whose language models are away."""
    with running_up(tmp_path_factory.mktemp("up"), OLLAMA_HOST=f"http://127.0.0.1:{find_free_port()}") as running:
        yield running


@pytest.fixture
def page(up: RunningUp, tmp_path: Path) -> Iterator[Studio]:
    """The test fails if the page reports anything but answers that did not come."""
    with studio(str(up.client.base_url).rstrip("/"), tmp_path / "profile") as page:
        page.sign_in(up.client.headers["Authorization"].removeprefix("Bearer "))
        yield page
        assert [each for each in page.reports() if not DESIGNED.search(each)] == []


def kill_api(up: RunningUp) -> None:
    """It is started again by what watches over it."""
    killed = up.child("api")
    os.kill(killed, signal.SIGKILL)
    up.wait(
        lambda: httpx.get(f"{up.client.base_url}/health/ready", trust_env=False), lambda _: up.child("api") != killed
    )


def test_the_way_goes_on_after_the_api_was_killed(up: RunningUp, page: Studio, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "night", {f"n{number}.jpg": gray_jpeg(number) for number in range(FRAMES)})
    page.throttle(BYTES_PER_S)
    steps.start_upload(page, "killed in the middle", folder)
    page.wait(lambda: page.script(SENT) >= 8, "nothing is sent")
    kill_api(up)
    assert page.script(SENT) < FRAMES, "all was sent before the kill"
    page.throttle(None)
    page.wait_for(".uploads", f"{FRAMES} of {FRAMES} files")
    page.click(".card a", folder.name)
    page.wait_for(".controls", "n0.jpg")

    page.script("location.hash = location.hash.replace('datasets', 'compose') + '?width=1600'")
    page.wait_for(".estimate", f"{FRAMES} frames")
    page.click("button.primary", "Render")
    page.wait(lambda: page.script(steps.PLAYS_EARLY), "nothing plays before the end")
    job = steps.job_of(page)
    kill_api(up)
    assert api.wait_until_ended(up.client, job)["status"] == "succeeded"
    page.wait_for(".fate", "fate")
    page.press(Keys.END)
    page.wait_for(f".counter[data-shown='{FRAMES - 1}']")
    page.wait_for(".fate", f"n{FRAMES - 1}.jpg")
    steps.wait_for_number(page, "video", FRAMES - 1)
    stored = steps.download(page, "Video", tmp_path)
    assert stored.read_bytes() == up.client.get(f"/api/videos/{job}/video").content


def test_models_that_are_away_are_said_and_choosing_goes_on(up: RunningUp, page: Studio) -> None:
    page.open("#/ask")
    page.wait_for("[name=question]").send_keys("why is the sky over the lab so bright in May\n")
    page.wait_for("[role=alert]", "the models cannot be reached")
    page.click(".builder .primary")
    page.wait(lambda: page.script("return document.querySelector('.answer td, .empty') !== null"), "no rows")
    page.wait_for(".found")
    page.open("#/ask?question=how%20many%20experiments%20are%20there%3F")
    page.wait_for(".reply")
    page.open("#/machines")
    page.wait_for(".checks li", "language models")
    page.wait_for(".verdict", "unhealthy")
