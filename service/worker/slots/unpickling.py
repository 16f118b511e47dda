"""Reads what a slot sends. A slot reads untrusted files, so what it sends is not trusted either: only our messages are
unpickled, and nothing that runs code; an outcome is taken only for the command that the slot was given."""

import io
import pickle
import re
from dataclasses import is_dataclass
from typing import Any

from service.plan.names.media_names import Exclusions
from service.store.catalog.scanned import ScannedFrame
from service.store.objects.digests import transient_key
from service.store.objects.keys import render_object_key
from service.worker.scan.store import ScanResult
from service.worker.slots import messages

# Values inside of messages: they hold something, and do nothing. Classes of Python are no such: a pickle can replace
# the methods of any class that has neither __setstate__ nor is built in.
VALUE_TYPES = {
    ("collections", "OrderedDict"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("uuid", "UUID"),
}
# By name, as pickle asks for them: an attribute of a permitted class is not permitted.
MESSAGE_TYPES = {
    (kind.__module__, kind.__qualname__)
    for kind in (*vars(messages).values(), Exclusions, ScannedFrame, ScanResult)
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__.startswith("service.")
}


class UntrustedMessage(Exception):
    """A slot sent something other than a message: it is not to be trusted any more."""


class _MessageUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in MESSAGE_TYPES | VALUE_TYPES:
            return super().find_class(module, name)
        raise UntrustedMessage(f"{module}.{name}")


def load_event(data: bytes) -> messages.SlotEvent:
    """The message. Raises UntrustedMessage."""
    try:
        event: messages.SlotEvent = _MessageUnpickler(io.BytesIO(data)).load()
    except UntrustedMessage:
        raise
    except Exception as error:  # what it was given may make pickle raise anything
        raise UntrustedMessage(f"not a message ({type(error).__name__})") from error
    if not isinstance(event, messages.SLOT_EVENTS):
        raise UntrustedMessage("a value that is no message")
    return event


# A fraction as text: one with an exponent may take for ever to read.
DURATION = re.compile(r"\d{1,40}(/[1-9]\d{0,39})?", re.ASCII)


def require_answer(command: messages.Command, outcome: messages.Outcome) -> None:
    """Raises UntrustedMessage if the outcome is not one of this command, or names what belongs to others."""
    try:
        answers = _answers(command, outcome)
    except Exception as error:  # members may have any type
        raise UntrustedMessage(f"an outcome with values of other types ({type(error).__name__})") from error
    if not answers:
        raise UntrustedMessage(f"an outcome of something else ({type(outcome).__name__})")


def _answers(command: messages.Command, outcome: messages.Outcome) -> bool:
    match command, outcome:
        case _, messages.TaskFailed() | messages.TaskCancelled():
            return True
        case messages.RenderSegment(), messages.SegmentDone():
            key = command.content_key
            wanted = transient_key(key, outcome.digests) if outcome.transient else key
            return outcome.content_key == wanted and _is_duration(outcome.duration)
        case messages.AssembleRender(), messages.AssemblyDone():
            keys = (outcome.video_key, outcome.poster_key, outcome.receipt_key)
            named = all(key == render_object_key(command.render_id, key.rpartition("/")[2]) for key in keys)
            return named and 0 <= outcome.size <= outcome.stored_bytes
        case messages.AssembleRender(), messages.SegmentsMissing():
            own = {segment.content_key for segment in command.segments}
            return own.issuperset((*outcome.damaged, *outcome.evicted))
    return isinstance(outcome, OTHER_ANSWERS.get(type(command), ()))


# Outcomes that name nothing, by command.
OTHER_ANSWERS: dict[type, type] = {
    messages.RenderSegment: messages.EncoderUnavailable,
    messages.ScanDataset: messages.ScanDone,
    messages.RenderPreview: messages.PreviewDone,
}


def _is_duration(value: str | None) -> bool:
    return value is None or DURATION.fullmatch(value) is not None
