"""Examples of the documentation, and the environment of somebody who types them."""

import os
import re
import sys
from pathlib import Path

from tests.support.processes.running_service import SCOPES, RunningService
from tests.support.source_code import ROOT


def blocks(text: str, languages: str) -> str:
    """All examples in these languages, one after the other; Python in a script is run by a Python of its own."""
    found = re.findall(rf"^```({languages})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    both = "|" in languages
    return "\n".join(f"python - <<'END'\n{code}END" if both and kind == "python" else code for kind, code in found)


def environment(service: RunningService, home: Path) -> dict[str, str]:
    token = service.token("reader", (*SCOPES, "query:run"))
    own = {"REELMILL_URL": service.url, "REELMILL_TOKEN": token, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    return {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"} | own | {"LANG": os.environ.get("LANG", "C.UTF-8")}
