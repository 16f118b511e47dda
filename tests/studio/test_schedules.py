"""A composed render is scheduled, and the schedule is looked after on its page."""

from typing import Any

import httpx
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.studio.browsing import Studio
from tests.studio.scene import HOSTILE_NAMES
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

WIDTHS = "return [document.documentElement.scrollWidth, window.innerWidth]"
WIDTHS_OF_FORM = "const form = document.querySelector('dialog'); return [form.scrollWidth, form.clientWidth]"
TEXT_OF_HEADINGS = "return [...document.querySelectorAll('.schedule h2 bdi')].map((each) => each.textContent)"
OFFERED = "return [...document.querySelectorAll('.schedule button')].map((each) => each.innerText)"
# On the first of January at midnight: no test runs into it.
RARELY = "0 0 1 1 *"


@pytest.fixture(autouse=True)
def no_schedules(alice: httpx.Client) -> None:
    """Those of the tests before, and of other files that share the service."""
    for schedule in schedules_of(alice):
        alice.delete(f"/api/schedules/{schedule['id']}").raise_for_status()


def test_a_composed_render_is_scheduled_run_switched_off_and_deleted(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{plate['id']}?fps=15&scale=0.5")
    page.click(".ways button", "Schedule…")
    assert page.wait_for("dialog #zone").get_property("value") == browser_zone(page)
    write(page, "name", "every morning")
    assert Select(page.wait_for("#often")).first_selected_option.text == "every day at 06:30"
    Select(page.wait_for("#often")).select_by_visible_text("Mondays at 06:30")
    assert page.wait_for("#cron").get_property("value") == "30 6 * * 1"
    choose(page, "window", "all, or those that the options name")
    page.click("dialog button.primary", "Schedule")
    page.wait_for(".schedule h2", "every morning")
    assert page.address() == "/#/schedules"
    (made,) = schedules_of(alice)
    assert (made["cron"], made["zone"], made["window"]) == ("30 6 * * 1", browser_zone(page), None)
    place = {"experiment_id": plate["experiment_id"], "dataset_id": plate["id"]}
    assert made["request"] == place | {"decimation_factor": 1, "fps": 15, "scale": 0.5}
    page.wait_for(".schedule .spec", "Mondays at 06:30")
    page.wait_for(".schedule .next", "Next in ")
    page.wait_for(".schedule .last", "It has not run yet")
    page.wait_for(".schedule .what a", "Aspergillus / camera 1")

    page.click(".schedule button", "Run now")
    page.wait_for(".schedule .its-render", "video of 57 frames")
    page.click(".schedule button", "Runs")
    page.wait_for(".runs .run", "asked for")
    assert page.address() == f"/#/schedules?runs={made['id']}"
    page.driver.refresh()
    page.click(".runs .its-render", "video of 57 frames")
    page.wait_for(".look video")
    job = page.address().split("/")[-1].split("?")[0]
    assert alice.get(f"/api/videos/{job}").json()["options"]["width"] == 240

    page.press("g", "s")
    page.click("[role=switch][aria-checked=true]")
    page.wait_for("[role=switch][aria-checked=false]")
    page.wait_for(".schedule .next", "Off")
    assert schedules_of(alice)[0]["enabled"] is False
    page.click(".schedule button", "Delete")
    page.click("dialog button.danger", "Delete")
    page.wait_for(".empty", "Nothing is scheduled yet")
    assert schedules_of(alice) == []
    assert alice.get(f"/api/videos/{job}").json()["status"] == "succeeded", "what it has rendered stays"


def test_what_the_service_refuses_is_said_at_its_field(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{plate['id']}?frames.start=5")
    page.wait_for(".estimate", "52 frames")
    page.press("s")
    write(page, "name", "nights")
    write(page, "cron", "0 25 * * *")
    write(page, "zone", "Europe/Atlantis")
    choose(page, "window", "of the last …")
    write(page, "window", "0", "input[aria-label='How many']", is_checked=False)
    page.press(Keys.ENTER)
    body = {"name": "nights", "request": {}, "cron": "0 25 * * *", "zone": "Europe/Atlantis", "window": "last 0 days"}
    refused = alice.post("/api/schedules", json=body).json()["errors"]
    said = {each["pointer"].removeprefix("#/"): each["detail"] for each in refused}
    for name in ("cron", "zone", "window"):
        page.wait_for(f"[data-field={name}] .reason", said[name])
    assert page.script("return document.activeElement.id") == "cron"
    write(page, "cron", RARELY)
    write(page, "zone", "Asia/Tokyo")
    choose(page, "window", "of the day before")
    page.click("dialog button.primary")
    page.wait_for("[data-field=window] .reason", "not both")
    choose(page, "window", "all, or those that the options name")
    page.click("dialog button.primary")
    page.wait_for(".schedule .spec code", RARELY)
    page.wait_for(".schedule .spec", "shows the frames that it names")
    page.wait_for(".schedule .next", "00:00")

    page.press("g", "r")
    page.open(f"#/compose/{plate['id']}?fps=12")
    page.click(".ways button", "Schedule…")
    write(page, "name", "nights")
    page.click("dialog button.primary")
    page.wait_for("dialog .notice", "name")
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.script("return document.activeElement.innerText") == "Schedule…", "the focus is lost")
    assert len(schedules_of(alice)) == 1


def test_a_run_that_was_refused_says_why_and_a_schedule_is_changed(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    made = make(alice, plate, window="yesterday")
    for _ in range(20):
        alice.post(f"/api/schedules/{made['id']}/run")
    page.sign_in(service.token("alice", SCOPES))
    page.open("#/renders")
    page.click(".head a", "Schedules")
    page.click(".schedule button", "Run now")
    page.wait_for(".schedule .row-note", "no frame was captured")
    page.wait_for(".schedule .last", "refused")
    (problem,) = (each["last_run"]["problem"] for each in schedules_of(alice))
    page.click(".schedule button", "Runs")
    page.wait_for(".run .reason", problem["errors"][0]["detail"])
    assert numbers_of_runs(page) == list(range(21, 1, -1))
    page.click(".runs button", "Earlier runs")
    page.wait(lambda: numbers_of_runs(page) == list(range(21, 0, -1)), "not all runs are listed")
    page.driver.refresh()
    page.wait_for(".schedule .course .reason", problem["errors"][0]["detail"])
    page.click(".schedule button", "Change")
    write(page, "name", "mornings")
    choose(page, "window", "of the last …")
    Select(page.wait_for("select[aria-label='Of what']")).select_by_visible_text("weeks")
    page.click("dialog button.primary", "Save")
    page.wait_for(".schedule h2", "mornings")
    page.wait_for(".schedule .spec", "shows the last 7 weeks")
    assert schedules_of(alice)[0]["window"] == "last 7 weeks"
    assert schedules_of(alice)[0]["request"]["fps"] == 12


def test_hostile_names_are_texts_and_fit_a_small_screen(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    for name in HOSTILE_NAMES:
        make(alice, plate, name=name)
    page.size(360, 740)
    page.sign_in(service.token("alice", SCOPES))
    page.open("#/schedules")
    page.wait(lambda: set(HOSTILE_NAMES) <= set(page.script(TEXT_OF_HEADINGS)), "not all names are shown")
    page.click(".schedule button", "Runs")
    page.wait_for(".runs .empty", "It has not run yet")
    content, window = page.script(WIDTHS)
    assert content <= window, f"it is {content} wide"
    assert page.script("return document.querySelectorAll('main script, main b, main img[src=x]').length") == 0
    page.click(".schedule button", "Change")
    assert page.wait_for("dialog #name").get_property("value") in HOSTILE_NAMES
    content, window = page.script(WIDTHS_OF_FORM)
    assert content <= window, f"the form is {content} wide"


def test_all_of_it_by_keyboard(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/compose/{plate['id']}?fps=15&scale=0.5")
    page.wait_for(".estimate", "57 frames")
    page.tab_to("button", "Schedule…")
    page.press(Keys.ENTER)
    page.wait_for("dialog #name")
    page.tab_to("#name")
    page.press("keys", Keys.TAB, "eve", Keys.TAB)
    page.tab_to("#window")
    page.press("all", Keys.ENTER)
    page.tab_to("button.primary", "Schedule")
    page.press(Keys.ENTER)
    page.wait_for(".schedule h2", "keys")
    page.tab_to("button", "Run now")
    page.press(Keys.ENTER)
    page.wait_for(".schedule .its-render", "video of 57 frames")
    page.tab_to("button", "Runs")
    page.press(Keys.ENTER)
    page.wait_for(".runs .its-render", "video of 57 frames")
    page.tab_to("[role=switch]", back=True)
    page.press(" ")
    page.wait_for("[role=switch][aria-checked=false]")
    page.tab_to("button", "Delete")
    page.press(Keys.ENTER)
    page.wait_for("dialog[open]")
    page.tab_to("button.danger", "Delete")
    page.press(Keys.ENTER)
    page.wait_for(".empty", "Nothing is scheduled yet")
    page.press("u")
    page.wait_for("h1", "Renders")
    assert schedules_of(alice) == []


def test_what_the_token_does_not_allow_is_not_offered(
    service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client
) -> None:
    made = make(alice, plate)
    ran = alice.post(f"/api/schedules/{made['id']}/run").raise_for_status().json()
    api.wait_until_ended(alice, ran["job_id"])
    page.sign_in(service.token("alice", ("videos:read",)))
    page.open("#/schedules")
    page.wait_for(".schedule .its-render", "video of 57 frames")
    page.wait_for_text("needs videos:render")
    assert page.script(OFFERED) == ["Runs"]
    page.sign_in(service.token("alice", ("catalog:read", "videos:read")))
    page.open(f"#/compose/{plate['id']}")
    page.wait_for(".offer", "needs videos:render")
    assert "Schedule…" not in page.text()
    page.sign_in(service.token("bob", ("videos:read",)))
    page.open("#/schedules")
    page.wait_for(".empty", "To schedule renders, the token needs videos:render")
    page.open(f"#/schedules?experiment_id={plate['experiment_id']}")
    page.wait_for(".empty", "No schedule is like this")
    page.open("#/schedules?cursor=torn")
    page.wait_for(".problem button", "Try again")
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.open("#/schedules")
    page.wait_for(".empty", "videos:read")


def make(client: httpx.Client, dataset: dict[str, Any], **fields: Any) -> dict[str, Any]:
    request = {
        "experiment_id": dataset["experiment_id"],
        "dataset_id": dataset["id"],
        "decimation_factor": 1,
        "fps": 12,
    }
    body = {"name": "rarely", "cron": RARELY, "request": request} | fields
    made: dict[str, Any] = client.post("/api/schedules", json=body).raise_for_status().json()
    return made


def schedules_of(client: httpx.Client) -> list[dict[str, Any]]:
    return list(client.get("/api/schedules").raise_for_status().json())


def numbers_of_runs(page: Studio) -> list[int]:
    found = page.script("return [...document.querySelectorAll('.run > :first-child')].map((each) => each.innerText)")
    return list(map(int, found))


def browser_zone(page: Studio) -> str:
    return str(page.script("return Intl.DateTimeFormat().resolvedOptions().timeZone"))


def choose(page: Studio, name: str, text: str) -> None:
    Select(page.wait_for(f"dialog #{name}")).select_by_visible_text(text)


def write(page: Studio, name: str, text: str, selector: str = "", *, is_checked: bool = True) -> None:
    """Into a field of the window, in place of what is there; unchecked: also what the browser itself would not send."""
    field = page.wait_for(f"dialog [data-field={name}] {selector or 'input'}")
    if not is_checked:
        page.script("arguments[0].form.noValidate = true", field)
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL, text)
