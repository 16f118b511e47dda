"""Worker processes whose clock is wrong: libfaketime (Debian: faketime) shifts their time of day, nothing else."""

from pathlib import Path

import pytest

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
needs_faketime = pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed (Debian: faketime)")


def wrong_clock(shift: str, after_s: int = 0) -> dict[str, str]:
    """The environment of a process whose clock is shifted, as by "+1h", `after_s` seconds after its start."""
    variables = {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return variables | ({"FAKETIME_START_AFTER_SECONDS": str(after_s)} if after_s else {})
