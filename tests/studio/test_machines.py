"""Machines: the real worker, a second one that comes, is given orders and goes, and what has failed for good."""

from typing import Any

import httpx

from service.embedded.postgres import EmbeddedPostgres
from tests.studio.browsing import Studio
from tests.studio.numbered_frames import gray_jpeg
from tests.studio.scene import HOSTILE_NAMES, make_dataset, make_experiment, submit
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService
from tests.support.processes.worker_process import worker_process

STATE_OF = """
const row = [...document.querySelectorAll('[data-worker]')].find((each) => each.dataset.worker.endsWith(`:${arguments[0]}`));
return row ? row.cells[1].textContent : null;
"""

BUTTON_OF = """
const row = [...document.querySelectorAll('[data-worker]')].find((each) => each.dataset.worker.endsWith(`:${arguments[0]}`));
return [...row.querySelectorAll('button:enabled')].find((each) => each.textContent === arguments[1]);
"""
TIMES_ASKED = (
    "return performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/api/workload')).length"
)
# Headless browsers have all tabs in front.
SET_HIDDEN = """
Object.defineProperty(document, 'hidden', {configurable: true, value: arguments[0]});
document.dispatchEvent(new Event('visibilitychange'));
"""
RIGHTS = ("ops:read", "ops:write", *SCOPES)


def test_workers_devices_and_health_are_live(service: RunningService, page: Studio) -> None:
    page.sign_in(service.token("root", ("ops:read", "videos:read")))
    page.press("g", "m")
    page.wait_for(".worker.active", "takes tasks")
    page.wait_for(".device", "cpu")
    page.wait_for(".device td", "encode")
    page.wait_for(".checks li", "object store")
    assert page.wait_for(".verdict").text.split()[0] in {"healthy", "degraded"}
    page.script("window.kept = document.querySelector('.worker.active')")
    with EmbeddedPostgres(service.home) as database, worker_process(database, service.home) as second:
        page.wait(lambda: page.script(STATE_OF, second.pid) == "takes tasks", "the second worker is not shown")
        second.terminate()
        second.wait()
        page.wait(lambda: page.script(STATE_OF, second.pid) == "gone", "it is not shown that it has gone")
    assert page.script("return window.kept.isConnected"), "rows that stay are not made anew"
    assert "Cordon" not in page.text(), "orders need ops:write"


def test_a_worker_is_cordoned_and_drained_by_buttons(service: RunningService, page: Studio) -> None:
    """One in a zone whose name attacks the page."""
    zone = HOSTILE_NAMES[0]
    page.sign_in(service.token("root", RIGHTS))
    page.open("#/machines")
    with (
        EmbeddedPostgres(service.home) as database,
        worker_process(database, service.home, REELMILL_ZONE=zone) as second,
        service.client("root", *RIGHTS) as client,
    ):

        def order(name: str, state: str) -> None:
            page.wait(lambda: page.script(BUTTON_OF, second.pid, name), f"no button {name}").click()
            if name == "Drain":
                page.click("dialog button.danger", "Drain")
            page.wait(lambda: page.script(STATE_OF, second.pid).startswith(state), f"it is not {state}")

        page.wait(lambda: page.script(STATE_OF, second.pid) == "takes tasks", "the second worker is not shown")
        order("Cordon", "cordoned")
        (told,) = [each for each in client.get("/api/workers").json() if each["name"].endswith(f":{second.pid}")]
        assert (told["state"], told["zone"]) == ("cordoned", zone)
        assert zone in page.text() and page.script("return !document.querySelector('main img, main script')")
        order("Uncordon", "takes tasks")
        order("Drain", "gone")
        assert second.wait(60) == 0


def test_what_failed_for_good_is_retried_and_dismissed_by_buttons(
    service: RunningService, page: Studio, alice: httpx.Client
) -> None:
    experiment = make_experiment(alice, HOSTILE_NAMES[1])
    dataset = make_dataset(alice, experiment, HOSTILE_NAMES[0], {"0.jpg": gray_jpeg(0), "<b>1.jpg": gray_jpeg(1)[:500]})
    job = submit(alice, dataset, corrupt="fail")
    assert api.wait_until_ended(alice, job)["status"] == "failed"
    page.sign_in(service.token("alice", RIGHTS))
    page.open("#/machines")
    row = f"tr:has(a[href='#/renders/{job}'])"
    page.wait_for(row, "frame 1")
    (before,) = dead_letters(alice, job)
    page.click(f"{row} button", "Retry")
    page.wait(
        lambda: [each for each in dead_letters(alice, job) if each["failed_at"] > before["failed_at"]], "no retry"
    )
    page.click(f"{row} button", "Dismiss")
    page.wait(lambda: page.script("return !document.querySelector(arguments[0])", row), "it is still listed")
    assert dead_letters(alice, job) == []
    assert page.script("return !document.querySelector('main b, main img, main script')")


def dead_letters(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    found = client.get("/api/dead-letters").raise_for_status().json()
    return [each for each in found if each["job_id"] == job]


def test_a_page_that_is_not_in_front_asks_nothing(service: RunningService, page: Studio) -> None:
    """A second tab is asked for as long as the first one is silent, which is told that it is behind."""
    page.sign_in(service.token("root", ("ops:read",)))
    page.open("#/machines")
    page.wait_for(".worker")
    behind = page.driver.current_window_handle
    page.script(SET_HIDDEN, True)
    page.driver.switch_to.new_window("tab")
    page.open("#/machines")
    page.wait_for(".worker")
    asked_of = {}
    for handle in (behind, page.driver.current_window_handle):
        page.driver.switch_to.window(handle)
        asked_of[handle] = page.script(TIMES_ASKED)
    page.wait(lambda: page.script(TIMES_ASKED) >= asked_of[handle] + 2, "the page in front does not ask")
    page.driver.close()
    page.driver.switch_to.window(behind)
    assert page.script(TIMES_ASKED) == asked_of[behind]
    page.script(SET_HIDDEN, False)
    page.wait(lambda: page.script(TIMES_ASKED) > asked_of[behind], "it does not ask when it is in front again")


def test_machines_and_questions_are_not_offered_without_their_scopes(service: RunningService, page: Studio) -> None:
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.wait_for(".head")
    assert page.script("return [...document.querySelectorAll('.top nav a')].map((each) => each.textContent)") == [
        "Experiments"
    ]
    for view, scope in (("ask", "query:run"), ("machines", "ops:read")):
        page.open(f"#/{view}")
        page.wait_for(".empty", scope)
