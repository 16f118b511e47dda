"""The signing secret of a service on one machine: created once, in its home folder."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from service.errors import StartupError
from service.private_files import FILE_MODE, FOLDER_MODE, NotPrivate, read_private_text

FILE_NAME = "jwt-secret"
MIN_LENGTH = 32


def local_secret(home: Path) -> SecretStr:
    """The secret in `home`, created if it is missing. Processes that do so at the same time all get the same one."""
    path = home / FILE_NAME
    try:
        if not path.exists():
            _create_secret_file(path)
        value = read_private_text(path).strip()
    except NotPrivate as error:
        raise StartupError(f"REELMILL_HOME: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"REELMILL_HOME: the secret {path} can neither be read nor created") from error
    if len(value) < MIN_LENGTH:
        raise StartupError(f"REELMILL_HOME: the secret {path} is damaged; delete it and a new one will be created")
    return SecretStr(value)


def _create_secret_file(path: Path) -> None:
    """Write the file under another name, then link it to its path: the first process wins."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    temp_file = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(temp_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temp_file, path)
    except FileExistsError:
        pass
    finally:
        temp_file.unlink()
