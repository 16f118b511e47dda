"""Commands of a slot, executed in this process, over a real HTTP server that can misbehave."""

import asyncio
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from service.plan.preview import FramePreview
from service.plan.render_plan import FrameRef, ObjectRef, SegmentPlan
from service.worker.objects.client import ObjectClient
from service.worker.objects.grants import Grant
from service.worker.objects.server import ObjectServer
from service.worker.slots.executor import SlotExecutor
from service.worker.slots.messages import CodecConfig, RenderPreview, RenderSegment, TaskFailed
from tests.plan.test_segments import OPTIONS
from tests.support.data import media
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.stored_frames import BUCKET, object_settings

EVERYTHING = frozenset([ObjectRef(BUCKET, "")])


class Listener:
    """A supervisor that is asked for nothing; it keeps what was begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def __call__(self, frames_done: int, /) -> None:
        pass

    def begin(self, item: str) -> None:
        self.begun.append(item)

    def call_store(self, method: str, *arguments: Any) -> Any:
        raise AssertionError(method)


@pytest.fixture
def executor(server: FaultyObjectServer, tmp_path: Path) -> Iterator[SlotExecutor]:
    with asyncio.Runner() as runner:
        ours, theirs = socket.socketpair()
        objects = ObjectServer(object_settings(server.address), tmp_path, tmp_path)
        objects.attach(ours)
        objects.permissions.grant = Grant(read_below=EVERYTHING, write_below=EVERYTHING)
        executor = SlotExecutor(CodecConfig(4096, 8), runner, ObjectClient(Connection(theirs.detach())))
        yield executor
        executor.close()


def test_bytes_that_were_damaged_on_the_way_say_nothing_about_the_frame(
    server: FaultyObjectServer, executor: SlotExecutor
) -> None:
    good, text = media.jpeg(media.numbered_picture(9)), b"no picture"
    outcomes = {}
    for key, data in (("good", good), ("damaged", good), ("text", text)):
        frame = FrameRef(0, key, server.put(key, data), len(data))
        server.faults = {"damaged": ["flipped"] * 40}
        outcomes[key] = executor.execute(
            RenderPreview(FramePreview(UUID(int=1), "frames", BUCKET, frame, 64, 10**9)), Listener()
        )
    # The server takes no previews: only what comes before it is stored matters here.
    codes = [outcome.code for outcome in outcomes.values() if isinstance(outcome, TaskFailed)]
    assert codes == ["store_unavailable", "damaged", "unreadable"], outcomes


def test_a_suspect_is_tried_before_the_rest(server: FaultyObjectServer, executor: SlotExecutor) -> None:
    """If it ends this slot, too, the frames before it were not done once more in vain."""
    frames = []
    for index in range(5):
        data = media.jpeg(media.numbered_picture(index))
        frames.append(FrameRef(index, f"{index}.jpg", server.put(f"{index}.jpg", data), len(data)))
    plan = SegmentPlan(0, 0, BUCKET, OPTIONS, tuple(frames))
    listener = Listener()
    executor.execute(RenderSegment(plan, "a" * 64, suspects=("3",)), listener)
    assert listener.begun == ["3", "0", "1", "2", "3", "4"]
