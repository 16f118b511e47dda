"""`reelmill up`: run the API and a worker as child processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO, Literal

import httpx

from service.child_process import hide_from_other_processes
from service.commands.supervision import ChildExitError, SupervisedProcess
from service.commands.tokens import mint_local_token
from service.config import Settings
from service.embedded.cluster import find_free_port
from service.errors import StartupError

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
CHECK_INTERVAL_S = 0.25
LogForm = Literal["json", "text"]


def run_up(settings: Settings, log: LogForm | None = None) -> None:
    """Run both processes until SIGINT or SIGTERM; print the URLs; on a terminal with an admin token.

    `log` is the form of the log, on a terminal by default for people: `text` shows what deserves attention, and below
    it a line about what is being done.
    """
    hide_from_other_processes()
    with ExitStack() as stack:
        screen = None
        if (log or ("text" if sys.stdout.isatty() else "json")) == "text":
            from rich.console import Console

            from service.commands.up_screen import UpScreen

            screen = UpScreen(Console(highlight=False))
        running = stack.enter_context(run_local_service(settings, output=screen.output if screen else None))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.stopping.set())
        print(f"API     {running.url}\ndocs    {running.url}/docs", flush=True)
        print(f"token   {token_or_command(settings)}\nStudio  {login_link(settings, running.url)}", flush=True)
        if screen is not None and not settings.identity.jwks_url:
            token = mint_local_token(settings, "operator", ("admin",), timedelta(days=365))
            stack.enter_context(screen.follow(running.url, token))
        running.supervise()


def token_or_command(settings: Settings) -> str:
    """An admin token of a day; where the output may be kept, such as in a log, the command that makes one instead."""
    if settings.identity.jwks_url:
        return "of the issuer that JWT_JWKS_URL names"
    if not sys.stdout.isatty():
        return "reelmill token --sub operator --scope admin --ttl 1d"
    return mint_local_token(settings, "operator", ("admin",), timedelta(days=1))


def login_link(settings: Settings, url: str) -> str:
    """Where a browser finds the service: on a terminal with an admin token of half a day behind `#`, which browsers do
    not send, so that no log and no other site gets it."""
    address = f"{(settings.client.url or url).rstrip('/')}/"
    if settings.identity.jwks_url or not sys.stdout.isatty():
        return address
    return f"{address}#token={mint_local_token(settings, 'operator', ('admin',), timedelta(hours=12))}"


@dataclass
class LocalService:
    """The two child processes and the URL of the API."""

    url: str
    environment: dict[str, str]
    children: dict[str, SupervisedProcess] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    # Log file of the children; None: the output of this process.
    output: IO[bytes] | None = None

    def start(self, name: str) -> None:
        child = SupervisedProcess(name, [sys.executable, "-m", "service", name], self.environment, self.output)
        self.children[name] = child
        child.start()

    def wait_ready(self) -> None:
        """Wait until the API is ready. Raises ChildExitError if it exits first, StartupError after 60 s."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if (code := self.children["api"].exit_code) is not None:
                raise ChildExitError("api", code)
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise StartupError(f"the API did not become ready within {READY_TIMEOUT_S:.0f} s: its log above says why")

    def supervise(self) -> None:
        """Start a child again that exits or hangs, until `stopping` is set. Raises ChildExitError if that is no use."""
        while not self.stopping.wait(CHECK_INTERVAL_S):
            for child in self.children.values():
                child.check()

    def stop(self) -> None:
        """Send SIGTERM to both, then SIGKILL to one that is still running after 30 s."""
        self.stopping.set()
        for child in self.children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in self.children.values():
            child.wait(max(deadline - time.monotonic(), 0.1))


@contextmanager
def run_local_service(
    settings: Settings, extra_environment: dict[str, str] | None = None, output: IO[bytes] | None = None
) -> Iterator[LocalService]:
    """Start both processes, wait until the API is ready, and stop both at the end."""
    port = settings.process.port or find_free_port()
    host = "127.0.0.1" if settings.process.host == "0.0.0.0" else settings.process.host  # noqa: S104 (compared)
    environment = os.environ | {"PORT": str(port)} | (extra_environment or {})
    running = LocalService(f"http://{host}:{port}", environment, output=output)
    try:
        running.start("api")
        running.start("worker")
        running.wait_ready()
        yield running
    finally:
        running.stop()
