"""The child process of a canary: `python -m service.devices.canary_child PARENT_PID`, JSON lines on stdin and stdout.

{"prepare": module, "device": name} imports the module and calls its `prepare(device)`, if it has one.
{"work": "module:function", "device": name} runs a canary.
The process ends when its input is closed or its parent dies.
"""

import importlib
import json
import os
import signal
import sys
from typing import Any

from service.child_process import die_with_parent, lower_priority
from service.devices.canary import DeviceUnusable, Unsupported, WrongOutput
from service.errors import first_line

# Lower priority than the slots, but not so low that every canary times out on a busy machine.
NICENESS = 12


def main(parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lower_priority(NICENESS)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print to stdout goes to stderr instead of the pipe
    for line in sys.stdin:
        replies.write(json.dumps(handle_request(json.loads(line))) + "\n")
        replies.flush()


def handle_request(request: dict[str, str]) -> dict[str, Any]:
    """The reply: {"passed": rate}, {"absent": reason}, {"wrong": reason}, {"broken": reason} or {"failed": reason}."""
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


if __name__ == "__main__":
    main(int(sys.argv[1]))
