"""What a slot and its supervisor say to each other while a command is under way."""

from multiprocessing import Pipe

import pytest

from service.worker.slots.child import CommandCancelled, ProgressReporter
from service.worker.slots.messages import CancelTask, Progress


def test_progress_of_many_small_frames_is_told_now_and_then() -> None:
    ours, theirs = Pipe()
    talk = ProgressReporter(theirs)
    for done in range(10_000):
        talk(done)
    theirs.close()
    events = []
    while ours.poll():
        try:
            events.append(ours.recv())
        except EOFError:
            break
    assert events[0] == Progress(0)
    assert len(events) < 1_000


def test_a_cancelled_command_stops_at_its_next_word() -> None:
    ours, theirs = Pipe()
    ours.send(CancelTask())
    with pytest.raises(CommandCancelled):
        ProgressReporter(theirs)(1)
