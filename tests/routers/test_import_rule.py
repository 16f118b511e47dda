"""The API process stays light."""

import subprocess
import sys

FORBIDDEN = ("torch", "triton", "av", "service.pipeline", "service.worker", "service.devices", "kernels")


def test_the_api_imports_no_codec_and_no_torch() -> None:
    script = f"import sys, service.app; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
