"""Reads what a slot sends. A slot reads untrusted files, so what it sends is not trusted either: only our messages are
unpickled, and nothing that runs code."""

import io
import pickle
from dataclasses import is_dataclass
from typing import Any

from service.plan.names.media_names import Exclusions
from service.store.catalog.scanned import ScannedFrame
from service.worker.scan.store import ScanResult
from service.worker.slots import messages

# Values inside of messages: they hold something, and do nothing.
VALUE_TYPES = {
    ("collections", "Counter"),
    ("collections", "OrderedDict"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("fractions", "Fraction"),
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
