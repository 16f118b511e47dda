"""What tasks need, and what slots offer by the states of their devices."""

from dataclasses import replace

import pytest

from service.plan.capability import Capability, State
from service.plan.needs import BUILT_IN, needs_of_preview, needs_of_segments, offers_of
from service.plan.preview import PREVIEWS
from service.plan.render_plan import Backend
from tests.support.data.database_rows import OPTIONS


def test_segments_need_the_encoder_and_the_decoders_of_their_files() -> None:
    assert needs_of_segments(OPTIONS, ["png", "jpeg", "png"]) == ["decode jpeg", "decode png", "encode h264"]
    on_gpu = replace(OPTIONS, codec="av1", family=Backend("cuda", "nvenc"))
    assert needs_of_segments(on_gpu, ["jpeg"]) == ["decode jpeg", "nvenc av1"]
    only_pixels = replace(OPTIONS, family=Backend("cuda", "cpu"))
    assert needs_of_segments(only_pixels, []) == ["encode h264"], "the CPU makes the same pictures"


def test_only_versions_that_know_a_picture_are_asked_for_it() -> None:
    """A worker of an earlier version, beside newer ones, makes previews of source frames as before."""
    assert needs_of_preview("frame", ["jpeg"]) == ["decode jpeg"]
    for kind in set(PREVIEWS) - {"frame"}:
        assert needs_of_preview(kind, ["jpeg"]) == ["decode jpeg", f"preview {kind}"]


def test_what_nobody_tests_is_tried_anywhere() -> None:
    assert needs_of_segments(OPTIONS, ["webp", "vp9"]) == ["encode h264"]


@pytest.mark.parametrize(("state", "offered"), [("ok", True), ("unknown", True), ("degraded", True)])
def test_what_may_work_is_offered(state: State, offered: bool) -> None:
    cuda = Capability("cuda:0", "encode", "hevc", state)
    assert ("nvenc hevc" in offers_of([cuda], ["cuda:0"])) == offered
    assert "nvenc hevc" not in offers_of([cuda], ["cuda:1"]), "the slot may not use that GPU"


@pytest.mark.parametrize("state", ["quarantined", "absent"])
def test_what_is_broken_is_not_offered(state: State) -> None:
    found = [Capability("cpu", "encode", "av1", state), Capability("cuda:0", "encode", "av1", state)]
    assert offers_of(found, ["cuda:0"]) == BUILT_IN - {"encode av1"}
