"""What is shown when something is not as one would like: hostile names, little room, few rights, an ended session."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.studio.browsing import Studio
from tests.studio.scene import HOSTILE_NAMES, colony_jpeg, make_dataset, make_experiment, submit
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

TEXT_OF_NAMES = "return [...document.querySelectorAll('bdi')].map((each) => each.textContent)"
WIDTHS = "return [document.documentElement.scrollWidth, window.innerWidth]"


@pytest.fixture(scope="module")
def hostile(service: RunningService) -> list[dict[str, Any]]:
    """An experiment, a dataset, a frame and a render by each hostile name that a file may have, too."""
    frames = {f"{mark} {number}.jpg": colony_jpeg(number, (160, 120)) for mark in ("<b>", "🎞️") for number in range(2)}
    with service.client("mallory") as client:
        made = [
            make_dataset(client, make_experiment(client, name, description=name), name, frames)
            for name in HOSTILE_NAMES
        ]
        api.wait_until_ended(client, submit(client, made[0]))
    return made


def test_hostile_names_are_texts_everywhere_and_fit_a_small_screen(
    service: RunningService, page: Studio, hostile: list[dict[str, Any]]
) -> None:
    page.size(360, 740)
    page.sign_in(service.token("mallory", (*SCOPES, "query:run", "agent:ask")))
    page.wait_for(".cards")
    page.wait(lambda: set(HOSTILE_NAMES) <= set(page.script(TEXT_OF_NAMES)), "not all names are shown")
    places = [f"#/experiments/{each['experiment_id']}" for each in hostile]
    places += [f"#/{view}/{each['id']}" for each in hostile for view in ("datasets", "compose")]
    places += [f"#/ask?query={quote(json.dumps({'table': table}))}" for table in ("experiments", "datasets")]
    with service.client("mallory") as client:
        places += ["#/renders", f"#/renders/{client.get('/api/videos').json()[0]['job_id']}?frame=1", "#/experiments"]
    for place in places:
        page.open(place)
        page.wait(lambda: set(HOSTILE_NAMES) & set(page.script(TEXT_OF_NAMES)), f"no name at {place}")
        content, window = page.script(WIDTHS)
        assert content <= window, f"{place} is {content} wide"
    assert page.script("return document.querySelectorAll('main script, main b, main img[src=x]').length") == 0


def test_what_the_token_does_not_allow_is_not_offered(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.wait_for(".card h2", "Aspergillus")
    assert "Renders" not in page.wait_for("header.top").text
    assert "New experiment" not in page.text()
    page.open(f"#/datasets/{plate['id']}")
    page.wait_for(".controls", "plate_0000.jpg")
    assert "Render…" not in page.text()
    page.open("#/renders")
    page.wait_for(".empty", "videos:read")
    page.open("#/nowhere")
    page.wait_for(".empty", "No such place")
    page.open(f"#/datasets/{plate['experiment_id']}")
    page.wait_for(".empty", "There is nothing here")


def test_a_session_that_ends_is_gone_on_with(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("bob", ("catalog:read",), timedelta(seconds=33)))
    page.open(f"#/datasets/{plate['id']}?frame=5")
    page.wait_for(".controls", "plate_0005.jpg")
    page.driver.delete_all_cookies()
    page.press("]")
    page.wait_for(".sign-in", "Token")
    page.wait_for("#token").send_keys(f"{service.url}/#token={service.token('bob', ('catalog:read',))}\n")
    page.wait_for(".controls", "plate_00")
    assert page.address().startswith(f"/#/datasets/{plate['id']}")
    page.click(".user")
    page.click(".menu button", "Sign out")
    page.wait_for("#token")


def test_a_token_that_has_run_out_ends_the_session(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    """Also if the browser still sends it."""
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.open(f"#/datasets/{plate['id']}?frame=9")
    page.wait_for(".controls", "plate_0009.jpg")
    (cookie,) = page.driver.get_cookies()
    page.driver.delete_all_cookies()
    page.driver.add_cookie(cookie | {"value": service.token("bob", ("catalog:read",), timedelta(seconds=-60))})
    page.press("u")
    page.wait_for(".sign-in [role=alert]", "Your session has ended")
    field = page.wait_for("#token")
    field.clear()  # of the key, if a picture was refused before it was pressed
    field.send_keys(f"{service.token('bob', ('catalog:read',))}\n")
    page.wait_for(".head", "Aspergillus")


def test_a_bad_link_is_said_and_leaves_the_address(page: Studio) -> None:
    page.open("#token=not.a.token")
    page.wait_for("[role=alert]", "not one of this service")
    assert "token" not in page.address()
    page.open("#sign-in=unavailable")
    page.wait_for("[role=alert]", "issuer does not answer")


def test_a_service_that_is_away_is_waited_for(service: RunningService, page: Studio, plate: dict[str, Any]) -> None:
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.open(f"#/datasets/{plate['id']}?frame=7")
    page.wait_for(".controls", "plate_0007.jpg")
    page.offline(away=True)
    page.script("location.hash = '#/experiments'")
    page.wait_for(".banner", "does not answer")
    page.offline(away=False)
    page.wait_for(".card h2", "Aspergillus")
    page.wait(lambda: page.script("return !document.querySelector('.banner')"), "it is still said")


def test_each_page_is_asked_for_once(service: RunningService, page: Studio) -> None:
    """What a browser has it keeps: a second load asks for the page only."""
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.open("#/experiments")
    page.wait_for(".head")
    kept = "return performance.getEntriesByType('resource').filter((each) => each.name.includes('/studio/') && each.transferSize > 0).length"
    assert page.script(kept) == 0
