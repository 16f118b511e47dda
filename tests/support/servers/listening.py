"""Wait for a server that was started as a process of its own."""

import socket
import subprocess
import time


def wait_until_listening(process: "subprocess.Popen[bytes]", port: int, seconds: float) -> None:
    """Until it accepts connections on this port of the machine; the process must not end meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, f"{process.args} does not start"
            time.sleep(0.02)
