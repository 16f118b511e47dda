"""A dataset that is followed from its page: new files appear on it without a scan being asked for."""

import httpx

from tests.studio.browsing import Studio
from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService


def test_new_frames_appear_while_a_dataset_is_followed(
    service: RunningService, page: Studio, alice: httpx.Client
) -> None:
    dataset = api.make_dataset(alice, {f"f{number}.jpg": frame_jpeg(number) for number in range(3)})
    page.sign_in(service.token("alice", SCOPES))
    page.open(f"#/datasets/{dataset['id']}?frame=2")
    page.click(".head button", "Follow")
    page.wait_for(".head button[aria-pressed=true]", "Following")
    for number in (3, 4):
        alice.put(f"/api/datasets/{dataset['id']}/objects/f{number}.jpg", content=frame_jpeg(number)).raise_for_status()
    page.wait(lambda: alice.get(f"/api/datasets/{dataset['id']}").json()["frame_count"] == 5, "not in the catalogue")
    page.wait_for(".counter", "2 / 4")
    assert "frame=2" in page.address(), "it stays where it was"
    page.click(".head button", "Following")
    page.wait_for(".head button[aria-pressed=false]", "Follow")
    assert alice.get(f"/api/datasets/{dataset['id']}").json()["followed"] is False
