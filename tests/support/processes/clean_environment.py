"""An environment without the settings of the developer's shell."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SETTING_PREFIXES = ("MINIO_", "REELMILL_", "JWT_", "DATABASE_URL", "OLLAMA_", "PORT", "HOST")


@contextmanager
def clean_environment(**settings: str) -> Iterator[None]:
    """Set only these settings until the end of the block."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(SETTING_PREFIXES):
            del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
