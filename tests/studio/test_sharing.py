"""The owner of an experiment says on its page who may see it."""

from tests.studio.browsing import Studio
from tests.studio.scene import make_experiment
from tests.support.processes.running_service import SCOPES, RunningService


def test_who_an_experiment_is_shared_with_is_edited(service: RunningService, page: Studio) -> None:
    with service.client("alice") as alice, service.client("bob") as bob:
        experiment = make_experiment(alice, "Shared <1>", visibility="shared", shared_with=["carol"])
        path = f"/api/experiments/{experiment}"
        assert bob.get(path).status_code == 404
        page.sign_in(service.token("alice", SCOPES))
        page.open(f"#/experiments/{experiment}")
        page.wait_for(".guests", "carol")
        page.click(".head button", "Change")
        names = page.wait_for("#shared_with")
        assert names.get_attribute("value") == "carol"
        names.clear()
        names.send_keys(" bob \n\n<i>eve</i>\nbob")
        page.click("dialog button", "Save")
        page.wait_for(".guests", "bob, <i>eve</i>")
        assert alice.get(path).json()["shared_with"] == ["bob", "<i>eve</i>"]
        assert bob.get(path).json()["shared_with"] == []
