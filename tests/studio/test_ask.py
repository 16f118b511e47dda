"""Ask: a query by choosing, one that is refused, and a question in plain words."""

import json
from typing import Any
from urllib.parse import quote

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.studio.browsing import Studio
from tests.support.processes.running_service import SCOPES, RunningService

ASKING = (*SCOPES, "query:run", "agent:ask")
KEYS_SHOWN = """
const at = [...document.querySelectorAll('.answer th')].findIndex((each) => each.textContent === 'key');
return [...document.querySelectorAll('.answer tbody tr')].map((row) => row.cells[at].textContent);
"""


def choose(page: Studio, selector: str, text: str) -> None:
    Select(page.wait_for(selector)).select_by_visible_text(text)


def test_a_query_that_is_chosen_shows_the_rows_of_the_api(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    page.sign_in(service.token("alice", ASKING))
    page.press("g", "a")
    choose(page, "#ask-table", "frames")
    page.click("fieldset button", "Add a condition")
    choose(page, "[aria-label=Column]", "dataset_id")
    page.wait_for("[aria-label=Value]").send_keys(plate["id"])
    page.click("fieldset button", "Add a condition")
    page.wait(lambda: len(page.driver.find_elements("css selector", ".condition")) == 2, "no second condition")
    second = page.driver.find_elements("css selector", ".condition")[1]
    Select(second.find_element("css selector", "[aria-label=Column]")).select_by_visible_text("index")
    Select(second.find_element("css selector", "[aria-label=Comparison]")).select_by_visible_text("<")
    second.find_element("css selector", "[aria-label=Value]").send_keys("7")
    for column in ("key", "index"):
        page.click(".chips button", column)
    choose(page, "#ask-order", "index")
    page.click(".builder [type=checkbox]")
    limit = page.wait_for("#ask-limit")
    limit.send_keys(Keys.CONTROL, "a")
    limit.send_keys("4")
    page.click(".builder .primary")
    page.wait_for(".answer td", "plate_0006")
    filters = [
        {"column": "dataset_id", "op": "eq", "value": plate["id"]},
        {"column": "index", "op": "lt", "value": 7},
    ]
    document = {"table": "frames", "columns": ["key"], "filters": filters, "order_by": ["-index"], "limit": 7}
    with service.client("alice", *ASKING) as client:
        expected = [row["key"] for row in client.post("/api/database/query", json=document).json()["rows"]]
    assert page.script(KEYS_SHOWN) == expected[:4]
    page.click(".pages a", "Next page")
    page.wait(lambda: page.script(KEYS_SHOWN) == expected[4:], "the next rows are others")
    address = page.address()
    page.open(address.removeprefix("/"))
    page.wait(lambda: page.script(KEYS_SHOWN) == expected[4:], "the address is no link to the rows")


def test_a_refused_query_says_why_and_offers_one_that_is_allowed(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    page.sign_in(service.token("alice", ASKING))
    filters = [
        {"column": "dataset_id", "op": "eq", "value": plate["id"]},
        {"column": "width", "op": "lt", "value": "x"},
    ]
    page.open(f"#/ask?query={quote(json.dumps({'table': 'frames', 'filters': filters, 'limit': 5000}))}")
    page.wait_for(".refusal", "5000 is over the limit of 1000")
    page.click(".refusal button", "Ask for 1,000 rows")
    page.wait_for(".refusal code", "#/filters/1/value")
    page.click(".refusal button", "Without the condition on width")
    page.wait_for(".answer td", "plate_0000.jpg")
    assert page.script("return document.querySelectorAll('.answer tbody tr').length") == plate["frame_count"]
    assert page.script("return document.querySelector('#ask-limit').value") == "1000"


def test_a_question_in_words_becomes_a_query_and_a_prepared_render(
    service: RunningService, page: Studio, plate: dict[str, Any]
) -> None:
    """Common questions need no model. None is configured here: others are answered with that, and a way to go on."""
    page.sign_in(service.token("alice", ASKING))
    page.open("#/ask")
    page.wait_for("[name=question]").send_keys(f'make a video of "{plate["id"]}" with every 4th frame at 24 fps\n')
    link = page.wait_for(".reply a", "Open in Compose").get_attribute("href")
    assert f"#/compose/{plate['id']}?" in link and "decimation_factor=4" in link and "fps=24" in link
    page.wait_for(".answer td")
    assert page.script("return document.querySelector('#ask-table').value") == "datasets"
    question = page.wait_for("[name=question]")
    question.clear()
    question.send_keys("why is the sky over the lab so bright in May\n")
    page.wait_for("[role=alert]", "no models are configured")
    page.click(".builder .primary")
    page.wait_for(".answer td")
