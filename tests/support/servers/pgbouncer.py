"""A real PgBouncer in transaction mode, as docs/fleet.md recommends it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from service.embedded.cluster import find_free_port
from tests.support.servers.listening import wait_until_listening
from tests.support.source_code import ROOT

PROGRAM = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian: pgbouncer)")
TIMEOUT_S = 10.0
# PgBouncer refuses to run as root.
UNPRIVILEGED = ["-u", "nobody"] if os.getuid() == 0 else []


def documented_settings() -> str:
    """The part `[pgbouncer]` of its configuration, as it is printed in the documentation."""
    (block,) = re.findall(r"```ini\n(\[pgbouncer\].*?)```", (ROOT / "docs/fleet.md").read_text(), re.DOTALL)
    return str(block)


@contextmanager
def pgbouncer(folder: Path, database_url: str) -> Iterator[str]:
    """Yield the URL of the database behind it. The documented settings, and where it listens."""
    assert PROGRAM is not None
    url, port = make_url(database_url), find_free_port()
    user, password, host = url.username, url.password or "", url.host or url.query.get("host")
    server = f"host={host} port={url.port or 5432} user={user} password={password} dbname={url.database}"
    where = f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n"
    settings = folder / "pgbouncer.ini"
    settings.write_text(f"[databases]\n{url.database} = {server}\n{documented_settings()}\n{where}")
    settings.chmod(0o644)
    process = subprocess.Popen([PROGRAM, *UNPRIVILEGED, str(settings)], stderr=subprocess.DEVNULL)
    try:
        wait_until_listening(process, port, TIMEOUT_S)
        yield url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
