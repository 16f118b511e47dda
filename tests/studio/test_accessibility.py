"""axe finds nothing on any view, in both themes."""

from typing import Any

import httpx
import numpy as np
from axe_core_python.base import AXE_SCRIPT

from tests.studio.browsing import Studio
from tests.studio.scene import make_dataset, make_experiment, make_schedule, submit
from tests.support.data.media import png
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService

# What each address shows when it is there: a new view is a line here.
VIEWS = {
    "#/experiments": ".card",
    "#/experiments/{experiment}": ".card",
    "#/datasets/{dataset}?frame=5": ".controls",
    "#/compose/{dataset}?frame=5": ".compose",
    "#/compose/{gray}?quality=700": ".tone .handle",
    "#/renders": ".render",
    "#/renders/{render}?frame=5": ".fate",
    "#/renders/{lossless}?frame=5&beside={render}": ".receipt td",
    "#/schedules": ".schedule .its-render",
    "#/schedules?runs={schedule}": ".runs .reason",
    "#/ask": "form",
    "#/machines": "table",
    "#/nowhere": ".empty",
}
# A window that is opened by a button, and what it lies over.
WINDOWS = {
    "#/experiments": "New experiment",
    "#/experiments/{experiment}": "Change",
    "#/renders": "Delete",
    "#/compose/{dataset}": "Schedule…",
    "#/schedules": "Change",
}
FINDINGS = """
axe.run(document).then(({violations}) => violations.flatMap(({id, nodes}) => nodes.map((node) => `${id}: ${node.html}`)))
"""


def findings(page: Studio) -> list[str]:
    """Run in a world of its own beside the page, whose policy stays as it is."""
    command = page.driver.execute_cdp_cmd
    frame = command("Page.getFrameTree", {})["frameTree"]["frame"]["id"]
    world = command("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})["executionContextId"]
    for script in (AXE_SCRIPT, FINDINGS):
        asked = {"expression": script, "contextId": world, "awaitPromise": True, "returnByValue": True}
        answer = command("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer
    return list(answer["result"]["value"])


def test_axe_finds_nothing(service: RunningService, page: Studio, plate: dict[str, Any], alice: httpx.Client) -> None:
    job = submit(alice, plate)
    lossless = submit(alice, plate, codec="ffv1", container="mkv")
    for each in (job, lossless):
        assert api.wait_until_ended(alice, each)["status"] == "succeeded"
    gray = make_dataset(alice, make_experiment(alice, "axe"), "gray", {"1.png": png(np.eye(64, dtype=np.uint8) * 200)})
    places = {"experiment": plate["experiment_id"], "dataset": plate["id"], "gray": gray["id"]}
    places |= {"render": job, "lossless": lossless}
    make_schedule(alice, plate, "done")
    places["schedule"] = make_schedule(alice, plate, "refused", window="yesterday")
    found = []
    page.sign_in(service.token("alice", (*SCOPES, "query:run", "ops:read")))
    for address, shown in VIEWS.items():
        page.open(address.format(**places))
        page.wait_for(shown)
        found += in_both_themes(page, address)
    for address, button in WINDOWS.items():
        page.open(address.format(**places))
        page.click("button", button)
        page.wait_for("dialog[open]")
        found += in_both_themes(page, f"{address}, {button}")
    page.open("#/experiments")
    page.wait_for(".card")
    page.press("?")
    page.wait_for("dialog.keys")
    found += in_both_themes(page, "keys")
    assert found == []


def test_axe_finds_nothing_before_somebody_signs_in(page: Studio) -> None:
    page.open("")
    page.wait_for("#token")
    assert in_both_themes(page, "sign in") == []


def in_both_themes(page: Studio, place: str) -> list[str]:
    found = []
    for theme in ("dark", "light"):
        page.theme(theme)
        found += [f"{place} {theme}: {each}" for each in findings(page)]
    return found
