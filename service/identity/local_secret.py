"""The signing secret of a one-machine service: created once, in its home folder."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from service.errors import StartupError

FILE_NAME = "jwt-secret"
MIN_LENGTH = 32


def local_secret(home: Path) -> SecretStr:
    """The secret in `home`, made when it is not there; processes that race for it all get the same one."""
    path = home / FILE_NAME
    try:
        if not path.exists():
            _create_secret_file(path)
        value = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"REELMILL_HOME: the secret {path} can neither be read nor made") from error
    if len(value) < MIN_LENGTH:
        raise StartupError(f"REELMILL_HOME: the secret {path} is damaged; delete it and a new one will be made")
    return SecretStr(value)


def _create_secret_file(path: Path) -> None:
    """Write the whole file under another name, then link it into place: the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
