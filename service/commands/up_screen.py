"""What people see of `reelmill up`: a line about what is being done, and above it what deserves attention."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from service.client.blocking.mill import Reelmill
from service.client.errors import ReelmillError

INTERVAL_S = 1.0
SHOWN_LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
# Members of a log line that are told by its place or its colour.
OF_THE_LINE = ("event", "level", "logger", "timestamp")
MAX_FACTS = 300


class UpScreen:
    """`output` takes the log of the processes; `follow` asks the service what it is doing."""

    def __init__(self, console: Console) -> None:
        self._console, self._ended = console, threading.Event()
        reading, writing = os.pipe()
        self.output: IO[bytes] = os.fdopen(writing, "wb", buffering=0)
        self._log = os.fdopen(reading, "r", errors="replace")
        threading.Thread(target=self._read_log, name="log", daemon=True).start()

    def _read_log(self) -> None:
        for line in self._log:
            if (text := readable(line)) is not None:
                self._console.print(text)

    @contextmanager
    def follow(self, url: str, token: str) -> Iterator[None]:
        """Keep the line up to date while the block runs."""
        with Reelmill(url, token=token, patience_s=0) as mill, Live(Text(), console=self._console) as live:
            watching = threading.Thread(target=self._watch, args=(mill, live), name="screen", daemon=True)
            watching.start()
            try:
                yield
            finally:
                self._ended.set()
                watching.join(2 * INTERVAL_S)
                live.update(Text())

    def _watch(self, mill: Reelmill, live: Live) -> None:
        while not self._ended.is_set():
            try:
                line = summary(mill.workers(), [render.fields for render in mill.renders.list(status="running")])
            except ReelmillError:
                line = "the API does not answer: it is started again"
            live.update(Text(line, style="dim"))
            self._ended.wait(INTERVAL_S)


def readable(line: str) -> Text | None:
    """A log line of JSON for people; None for what they need not see. Anything else is shown as it is."""
    try:
        record = json.loads(line)
        style = SHOWN_LEVELS.get(record["level"])
        time = str(record["timestamp"])[11:19]
        event = str(record["event"])
    except (ValueError, KeyError, TypeError):
        return Text(line.rstrip("\n"))
    if style is None:
        return None
    facts = ", ".join(f"{name} {value}" for name, value in record.items() if name not in OF_THE_LINE)
    return Text.assemble((f"{time} ", "dim"), (event, style), (f"  {facts[:MAX_FACTS]}" if facts else "", "dim"))


def summary(workers: list[dict[str, Any]], running: list[Mapping[str, Any]]) -> str:
    """One line: who works, and what is being rendered."""
    slots = sum(worker["slots"] for worker in workers)
    who = f"{_count(len(workers), 'worker')}, {_count(slots, 'slot')}" if workers else "no worker yet"
    if not running:
        return f"{who}: nothing to render"
    done, total = (sum(render[name] for render in running) for name in ("frames_done", "frames_total"))
    rate = sum(render["fps"] or 0.0 for render in running)
    return f"{who}: {_count(len(running), 'render')}, {done:,} of {total:,} frames, {rate:.0f} frames/s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
