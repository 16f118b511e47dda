"""The child process of a canary: `python -m service.devices.canary_child PARENT_PID`; JSON lines on stdin and stdout.

{"prepare": module, "device": name} imports the module and calls its `prepare(device)`, if any. {"work":
"module:function", "device": name} runs a canary. The process ends with its input, and with its parent."""

import importlib
import json
import os
import signal
import sys
from typing import Any, TextIO

from service.child_process import die_with_parent, lower_priority
from service.devices.canary import DeviceUnusable, Unsupported, WrongOutput
from service.errors import first_line

# Behind the slots, not so far that a busy machine makes every canary late.
NICENESS = 12


def main(parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lower_priority(NICENESS)
    answers = _redirect_stdout()
    for line in sys.stdin:
        answers.write(json.dumps(handle_request(json.loads(line))) + "\n")
        answers.flush()


def handle_request(request: dict[str, str]) -> dict[str, Any]:
    """What a request came to: {"passed": rate}, {"absent": reason}, {"wrong": reason}, {"broken": reason} or
    {"failed": reason}."""
    try:
        if "prepare" in request:
            prepare = getattr(importlib.import_module(request["prepare"]), "prepare", None)
            return {"passed": prepare(request["device"]) if prepare else None}
        module, _, name = request["work"].partition(":")
        return {"passed": getattr(importlib.import_module(module), name)(request["device"])}
    except Unsupported as reason:
        return {"absent": str(reason)}
    except WrongOutput as reason:
        return {"wrong": str(reason)}
    except DeviceUnusable as reason:
        return {"broken": str(reason)}
    except Exception as error:
        return {"failed": first_line(error)}


def _redirect_stdout() -> TextIO:
    """The pipe to the parent; what libraries print goes to stderr instead."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


if __name__ == "__main__":
    main(int(sys.argv[1]))
