"""Processes are killed, frozen, hung and stopped: both of a slot, worker, API, launcher, PostgreSQL, its backends."""

import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.faults.scene import Faults, Scene
from tests.support.processes.worker_process import object_pids, slot_pids

PROCESSES = ("slot", "object process", "worker", "api", "launcher", "database", "backend")
FREEZE_S, PAST_LEASE_S, SHORT_OF_MEMORY_S = 2.0, 8.0, 1.5
# What a slot whose memory is limited may still take, beside what it has.
SPARE_BYTES = 8 << 20
PHASE_TIMEOUT_S = 6.0
PHASES = {
    "as it begins a segment": "kind = 'segment' AND progress = 0",
    "in a segment": "kind = 'segment' AND progress > 0",
    "in an assembly": "kind = 'assemble'",
}


def process_faults(scene: Scene) -> Faults:
    faults: Faults = {}
    for each in PROCESSES:
        faults[f"kill the {each}"] = lambda each=each: _signal(scene, each, signal.SIGKILL)
        faults[f"freeze the {each}"] = lambda each=each: _freeze(scene, each, FREEZE_S)
    for each in ("worker", "api", "launcher", "database", "slot", "object process"):
        faults[f"hang the {each}"] = lambda each=each: _signal(scene, each, signal.SIGSTOP)
    for each in ("worker", "api"):
        faults[f"stop the {each}"] = lambda each=each: _signal(scene, each, signal.SIGTERM)
    for phase, condition in PHASES.items():
        faults[f"kill all slots {phase}"] = lambda condition=condition: _kill_slots_when(scene, condition)
    return faults | {
        "freeze the worker past its leases": lambda: _freeze(scene, "worker", PAST_LEASE_S),
        "stop the database": lambda: _signal(scene, "database", signal.SIGINT),
        "crash a backend": lambda: _signal(scene, "backend", signal.SIGSEGV),
        "crash a slot": lambda: _signal(scene, "slot", signal.SIGSEGV),
        "no memory in a slot": lambda: _limit_memory(scene, "slot"),
        "no memory in an object process": lambda: _limit_memory(scene, "object process"),
        "kill worker and api": lambda: _kill_all(scene, ("worker", "api")),
        "kill everything below up": lambda: _kill_all(scene, ("worker", "api", "launcher", "database")),
    }


def _pid(scene: Scene, what: str) -> int:
    if what in ("slot", "object process"):
        pids = slot_pids if what == "slot" else object_pids
        return scene.random.choice(pids(scene.up.child("worker")))
    return scene.up.find(what)


def _signal(scene: Scene, what: str, number: signal.Signals) -> None:
    os.kill(_pid(scene, what), number)


def _freeze(scene: Scene, what: str, seconds: float) -> None:
    pid = _pid(scene, what)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    with suppress(ProcessLookupError):  # whoever supervises it was faster
        os.kill(pid, signal.SIGCONT)


def _kill_all(scene: Scene, processes: tuple[str, ...]) -> None:
    for pid in [scene.up.find(each) for each in processes]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill_slots_when(scene: Scene, condition: str) -> None:
    """As soon as a task of this kind runs."""
    slots = slot_pids(scene.up.child("worker"))
    found = f"SELECT 1 FROM tasks WHERE state = 'running' AND {condition} LIMIT 1"
    _wait(lambda: bool(scene.query(found)))
    for pid in slots:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait(condition: Callable[[], bool]) -> None:
    """Raises IndexError if there is no such moment."""
    deadline = time.monotonic() + PHASE_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise IndexError
        time.sleep(0.005)


def _limit_memory(scene: Scene, what: str) -> None:
    """The process can allocate almost nothing for a while, as under a limit that is too low for what it does."""
    pid = _pid(scene, what)
    used = int(Path(f"/proc/{pid}/status").read_text().split("VmData:")[1].split()[0]) << 10
    soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (used + SPARE_BYTES, hard))
    time.sleep(SHORT_OF_MEMORY_S)
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))
