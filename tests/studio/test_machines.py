"""Machines: the real worker, a second one that comes and goes, and what only some may see."""

from service.embedded.postgres import EmbeddedPostgres
from tests.studio.browsing import Studio
from tests.support.processes.running_service import RunningService
from tests.support.processes.worker_process import worker_process

STATE_OF = """
const row = [...document.querySelectorAll('[data-worker]')].find((each) => each.dataset.worker.endsWith(`:${arguments[0]}`));
return row ? row.cells[1].textContent : null;
"""


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


def test_machines_and_questions_are_not_offered_without_their_scopes(service: RunningService, page: Studio) -> None:
    page.sign_in(service.token("bob", ("catalog:read",)))
    page.wait_for(".head")
    assert page.script("return [...document.querySelectorAll('.top nav a')].map((each) => each.textContent)") == [
        "Experiments"
    ]
    for view, scope in (("ask", "query:run"), ("machines", "ops:read")):
        page.open(f"#/{view}")
        page.wait_for(".empty", scope)
