"""A worker in a network namespace of its own, whose cable can be pulled out. Needs root and iproute2."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from service.child_process import detach_from_terminal
from tests.support.servers.tcp_relay import TcpRelay

# The namespace, and with it the cable, is gone when its last process is.
WAIT_FOR_CABLE = 'while ! ip addr show cable 2>/dev/null | grep -q "inet "; do sleep 0.05; done; exec "$@"'
WORKER = ["unshare", "--net", "sh", "-c", WAIT_FOR_CABLE, "sh", sys.executable, "-m", "service", "worker"]
ADDRESSES = ("MINIO_ENDPOINT", "DATABASE_URL")


@dataclass(frozen=True)
class NetworkWorker:
    """Its network is 10.77.`number`.0/24."""

    process: "subprocess.Popen[bytes]"
    number: int

    def pull_cable(self) -> None:
        """What is sent does not arrive, and nobody is told that a connection is broken."""
        self._set("down")

    def plug_cable(self) -> None:
        self._set("up")

    def _set(self, state: str) -> None:
        """The cable of a worker that has exited is gone."""
        subprocess.run(["ip", "link", "set", f"reelmill{self.number}", state], capture_output=True)


@contextmanager
def network_worker(number: int, environment: dict[str, str], log: Path) -> Iterator[NetworkWorker]:
    """A `reelmill worker` that reaches the servers of `environment`, which listen on the loopback, over its cable.

    It is killed at the end of the block, if it is still running.
    """
    host, cable = f"10.77.{number}.1", f"reelmill{number}"
    with ExitStack() as stack:
        _remove(cable)  # that of a run that was killed lasts until the kernel has ended its namespace
        _ip("link", "add", cable, "type", "veth", "peer", "name", f"{cable}-end")
        stack.callback(_remove, cable)
        _ip("addr", "add", f"{host}/24", "dev", cable)
        _ip("link", "set", cable, "up")
        relayed = {name: _relay(environment[name], host, stack) for name in ADDRESSES}
        process = _start(environment | relayed, log)
        stack.callback(_end, process)
        _ip("link", "set", f"{cable}-end", "name", "cable", "netns", str(process.pid))
        for words in (f"addr add 10.77.{number}.2/24 dev cable", "link set cable up", "link set lo up"):
            subprocess.run(["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", *words.split()], check=True)
        yield NetworkWorker(process, number)


def _relay(url: str, host: str, stack: ExitStack) -> str:
    """The URL of a relay on this host."""
    parts = urlsplit(url)
    assert parts.port is not None
    relay = stack.enter_context(TcpRelay(host, parts.port))
    return url.replace(f"{parts.hostname}:{parts.port}", f"{host}:{relay.port}")


def _start(environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """It waits until its cable is plugged in."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            WORKER,
            env=environment,
            stdout=file,
            stderr=file,
            preexec_fn=lambda: detach_from_terminal(signal.SIGKILL),  # noqa: PLW1509 (the relays take no lock of it)
        )
    own, deadline = os.readlink("/proc/self/ns/net"), time.monotonic() + 10  # noqa: PTH115 (not a path)
    while os.readlink(f"/proc/{process.pid}/ns/net") == own:  # noqa: PTH115 (not a path)
        assert time.monotonic() < deadline, "it has no network namespace"
        time.sleep(0.01)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _remove(cable: str) -> None:
    """It is gone already, if the kernel was faster."""
    subprocess.run(["ip", "link", "del", cable], capture_output=True)
