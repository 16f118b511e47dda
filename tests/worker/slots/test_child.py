"""What a slot and its supervisor say to each other while a command is under way."""

from collections.abc import Callable
from multiprocessing import Pipe
from uuid import UUID

import pytest

from service.worker.slots.child import CommandCancelled, ProgressReporter, SupervisorGone, _run_command
from service.worker.slots.current_item import CurrentItem
from service.worker.slots.messages import CancelTask, Command, Outcome, Progress, ScanDataset, TaskCancelled, TaskFailed


def test_progress_of_many_small_frames_is_told_now_and_then() -> None:
    ours, theirs = Pipe()
    talk = ProgressReporter(theirs, CurrentItem())
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
        ProgressReporter(theirs, CurrentItem())(1)


COMMAND = ScanDataset(UUID(int=1))


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OSError(5, "input/output error"), EOFError(), TypeError()], ids=repr
)
def test_an_unexpected_error_is_an_outcome_with_a_reason(error: Exception) -> None:
    def execute(command: Command, on_progress: Callable[[int], None]) -> Outcome:
        error.add_note("during encode")
        raise error

    outcome = _run_command(execute, COMMAND, ProgressReporter(Pipe()[1], CurrentItem()))
    assert isinstance(outcome, TaskFailed) and outcome.code == "unexpected"
    assert outcome.retry and outcome.restart_slot
    assert type(error).__name__ in outcome.reason and "during encode" in outcome.reason


def test_cancellation_has_an_outcome_of_its_own() -> None:
    def execute(command: Command, on_progress: Callable[[int], None]) -> Outcome:
        raise CommandCancelled

    assert _run_command(execute, COMMAND, ProgressReporter(Pipe()[1], CurrentItem())) == TaskCancelled()


def test_a_slot_whose_supervisor_is_gone_ends() -> None:
    ours, theirs = Pipe()
    ours.close()

    def execute(command: Command, on_progress: Callable[[int], None]) -> Outcome:
        on_progress(1)
        raise AssertionError("it should have ended")

    with pytest.raises(SupervisorGone):
        _run_command(execute, COMMAND, ProgressReporter(theirs, CurrentItem()))
