"""Answers that come late, fail for a while, or never: what is shown stays what was last asked for."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.studio.browsing import Studio
from tests.studio.scene import make_experiment, submit
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

# Requests whose address and body have a text are held back, also if they are given up, answered with a status, or their
# answers are changed.
NETWORK = """
const real = window.fetch;
window.rules = [];
window.held = [];
window.refused = 0;
window.fetch = (path, options = {}) => {
  const rule = rules.find((each) => `${options.method ?? 'GET'} ${path} ${options.body ?? ''}`.includes(each.part) && each.times-- > 0);
  if (!rule) return real(path, options);
  if (rule.change) return real(path, options).then((answer) => answer.json()).then((found) => Response.json({ ...found, ...rule.change }));
  if (!rule.status) return new Promise((resolve, reject) => held.push(() => real(path, { ...options, signal: null }).then(resolve, reject)));
  window.refused += 1;
  const headers = { 'Content-Type': 'application/problem+json', 'Retry-After': '1' };
  return Promise.resolve(new Response(JSON.stringify({ title: 'Not now', detail: 'in a moment' }), { status: rule.status, headers }));
};
"""
ASKING = (*SCOPES, "query:run", "agent:ask")


def rule(page: Studio, part: str, times: int = 1, status: int = 0, change: dict[str, Any] | None = None) -> None:
    """What becomes of the next requests with this part: held back, answered so, or their answers changed."""
    if not page.script("return Boolean(window.rules)"):
        page.script(NETWORK)
    page.script("rules.push(arguments[0])", {"part": part, "times": times, "status": status, "change": change})


def let_go(page: Studio) -> None:
    """What was held back is answered, and the page has taken note."""
    page.wait(lambda: page.script("return held.length > 0"), "nothing was held back")
    page.script(
        "return Promise.all(held.splice(0).map((each) => each())).then(() => new Promise((done) => setTimeout(done, 400)))"
    )


def go(page: Studio, address: str) -> None:
    page.script("location.hash = arguments[0]", address)


def test_an_answer_that_is_overtaken_changes_nothing(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    def query(table: str) -> str:
        return f"#/ask?query={quote(json.dumps({'table': table}))}"

    page.sign_in(service.token("alice", ASKING))
    go(page, "#/ask")
    page.wait_for(".empty", "Nothing was asked yet")
    rule(page, '"table":"frames"')
    go(page, query("frames"))
    page.wait(lambda: page.script("return held.length"), "it was not asked")
    go(page, query("datasets"))
    page.wait_for(".found", "of datasets")
    let_go(page)
    assert "of datasets" in page.wait_for(".found").text
    rule(page, '"table":"frames"')
    go(page, query("frames"))
    page.wait(lambda: page.script("return held.length"), "it was not asked")
    go(page, "#/ask?query=nonsense")
    page.wait_for(".refusal", "The address holds no query")
    let_go(page)
    assert "The address holds no query" in page.wait_for(".found").text


@pytest.fixture
def experiment_of_two_pages(alice: httpx.Client) -> str:
    """An experiment with two pages of datasets."""
    experiment = make_experiment(alice, "crowded")
    for number in range(52):
        body = {"name": f"dataset {number:02}"}
        alice.post(f"/api/experiments/{experiment}/datasets", json=body).raise_for_status()
    return experiment


def test_a_page_that_is_overtaken_or_fails_once_leaves_the_list(
    service: RunningService, page: Studio, experiment_of_two_pages: str
) -> None:
    names = "return [...document.querySelectorAll('.card h2')].map((each) => each.textContent)"
    page.sign_in(service.token("alice", SCOPES))
    go(page, f"#/experiments/{experiment_of_two_pages}")
    page.wait_for(".pages a", "Next page")
    first = page.script(names)
    # A change of the experiment loads the page again.
    rule(page, f"GET /api/experiments/{experiment_of_two_pages}/datasets", status=503)
    page.click("button", "Change")
    page.click("dialog .primary", "Save")
    page.wait(lambda: page.script("return refused === 1"), "it was not loaded again")
    page.script("return new Promise((done) => setTimeout(done, 300))")
    assert page.script(names) == first
    rule(page, f"GET /api/experiments/{experiment_of_two_pages}/datasets")
    page.wait(lambda: page.script("return held.length"), "it is not asked for again")
    page.click(".pages a", "Next page")
    page.wait_for(".pages", "This is the last page")
    last = page.script(names)
    assert set(last).isdisjoint(first)
    let_go(page)
    assert page.script(names) == last


def test_a_refusal_that_passes_leaves_the_button(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("alice", SCOPES))
    go(page, f"#/compose/{plate['id']}?frames.stop=5&quality=33")
    page.wait_for(".estimate", "5 frames")
    rule(page, "POST /api/videos/generate", status=429)
    page.click("button.primary", "Render")
    page.wait_for(".estimate .bad", "in a moment")
    page.click("button.primary", "Render")
    page.wait_for(".look video")


def test_a_render_is_looked_at_until_it_has_ended(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    job = submit(alice, plate, frames={"stop": 6}, quality=34)
    api.wait_until_ended(alice, job)
    page.sign_in(service.token("alice", SCOPES))
    rule(page, f"GET /api/videos/{job} ", change={"status": "running"})
    page.script(
        """
        window.EventSource = class extends EventTarget {
          constructor() { super(); setTimeout(() => this.dispatchEvent(new Event('error')), 100); }
          close() {}
        };
        """
    )
    go(page, f"#/renders/{job}")
    page.wait_for(".bench")
    rule(page, f"GET /api/videos/{job} ", times=2, status=503)
    page.wait(lambda: page.script("return refused === 2"), "it is not looked at again")
    page.wait_for(".downloads a")
    page.wait(lambda: not page.driver.find_elements("css selector", ".side .bar"), "its end is not seen")


def test_what_is_asked_closes_with_its_view(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("alice", SCOPES))
    go(page, f"#/experiments/{plate['experiment_id']}")
    page.click("button", "Delete")
    page.wait_for("dialog", "Delete this experiment?")
    page.driver.back()
    page.wait_for("h1", "Experiments")
    page.wait(lambda: not page.driver.find_elements("css selector", "dialog"), "it still asks")
    rule(page, "POST /api/experiments")
    page.press("n")
    page.wait_for("dialog #name").send_keys("made late", Keys.ENTER)
    page.wait(lambda: page.script("return held.length"), "it is not made")
    go(page, "#/renders")
    page.wait_for("h1", "Renders")
    let_go(page)
    assert page.address() == "/#/renders"


def test_a_crop_that_ends_as_a_line_is_the_last_one_drawn(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    page.size(1280, 800)
    page.sign_in(service.token("alice", SCOPES))
    go(page, f"#/compose/{plate['id']}")
    area = page.wait_for(".crop-area")
    width, height = area.size["width"], area.size["height"]
    pointer = ActionChains(page.driver).move_to_element_with_offset(area, -width // 4, -height // 4).click_and_hold()
    pointer.move_by_offset(width // 3, height // 3).move_by_offset(-(width // 3), 0).release().perform()
    page.wait(lambda: "crop.width=" in page.address(), "what is drawn is not in the address")


def test_uploads_leave_with_whoever_signs_out(service: RunningService, page: Studio, tmp_path: Any) -> None:
    folder = tmp_path / "of alice"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"no picture")
    page.sign_in(service.token("alice", SCOPES))
    page.wait_for(".head button", "New experiment")
    page.press("n")
    page.wait_for("dialog #name").send_keys("left", Keys.ENTER)
    page.wait_for(".empty", "Drop a folder here")
    page.drop(folder)
    page.wait_for(".uploads", "of alice")
    page.click(".user")
    page.click(".menu button", "Sign out")
    page.wait_for("#token").send_keys(f"{service.token('bob', ('catalog:read',))}\n")
    page.wait_for("header.top", "bob")
    assert not page.driver.find_elements("css selector", ".uploads")


def test_playing_back_is_stopped_by_the_button(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("alice", SCOPES))
    go(page, f"#/datasets/{plate['id']}?frame=50")
    page.wait_for(".controls", "plate_0053.jpg")
    assert page.script("return document.activeElement.id") == "main"
    page.press("j")
    page.click(".controls button", "Stop")
    page.wait_for(".controls button", "Play")
    page.script("return new Promise((done) => setTimeout(done, 300))")
    at = page.wait_for(".counter").text
    page.script("return new Promise((done) => setTimeout(done, 300))")
    assert page.wait_for(".counter").text == at
    assert int(at.split("/")[0]) <= 50


def test_what_is_not_there_yet_or_at_all(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    """A dataset that is not loaded when a key asks for its end, and a browser without a clipboard."""
    page.sign_in(service.token("alice", SCOPES))
    rule(page, f"GET /api/datasets/{plate['id']} ")
    go(page, f"#/compose/{plate['id']}?frame=7")
    page.wait(lambda: page.script("return held.length"), "it is not loaded")
    page.press(Keys.END)
    let_go(page)
    page.wait_for(".counter", "7")
    page.script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("button", "Copy as curl")
    page.wait_for(".offer", "does not let the page copy")


def test_a_scan_that_is_refused_says_why(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("alice", SCOPES))
    rule(page, "/scan ", status=429)
    failed = {"state": "failed", "frame_count": 0, "error": "the store does not answer"}
    rule(page, f"GET /api/datasets/{plate['id']} ", times=2, change=failed)
    go(page, f"#/datasets/{plate['id']}")
    page.click(".empty button", "Scan again")
    page.wait_for(".notice", "in a moment")
