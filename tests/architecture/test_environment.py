"""The environment is read once, by `config.load`, and never by importing something."""

import ast
import subprocess
import sys

from tests.documentation.settings_table import settings_classes, variables
from tests.support.source_code import relative_name, source_files

# Files outside the settings classes that touch os.environ, and why.
ALLOWED_READERS = {
    "service/child_process.py": "passes its own environment to the launcher and the migration",
    "service/config.py": "XDG_DATA_HOME, where the per-user data folder lies; variables that were removed or renamed",
    "service/devices/nvml.py": "CUDA_VISIBLE_DEVICES, as CUDA; sets CUDA_DEVICE_ORDER, so that NVML and CUDA count alike",
    "service/embedded/cluster.py": "hands its own environment on to psql",
    "service/client/addresses.py": "REELMILL_URL and the like: the client knows no settings of the service",
    "service/commands/up.py": "hands its own environment on to the API and the worker",
    "service/store/objects/s3_http.py": "AWS_CA_BUNDLE, as every AWS client",
    "service/worker/objects/child.py": "AWS_CA_BUNDLE, which it has to read when it is shut in",
    "service/watchdog.py": "NOTIFY_SOCKET, which `reelmill up` or systemd sets for a process that it watches",
    "service/pipeline/encode/codecs.py": "sets SVT_LOG, which libSvtAv1Enc reads",
}

POISONED_IMPORT = """
import os, pkgutil, importlib, sys
import fastapi, typer, uvicorn, wsgiref.handlers, alembic, aioboto3, av, PIL, tifffile  # read what they like
ours, seen = set(sys.argv[1:]), set()
os.environ.update(dict.fromkeys(ours, "poison"))
read = os._Environ.__getitem__
def watched(self, key):
    seen.add(key)
    return read(self, key)
os._Environ.__getitem__ = watched
import service
for module in pkgutil.walk_packages(service.__path__, "service."):
    if not module.name.endswith("__main__") and ".migrations" not in module.name:
        importlib.import_module(module.name)
print(*sorted(seen & ours))
"""


def test_no_setting_is_read_at_import_time() -> None:
    command = [sys.executable, "-c", POISONED_IMPORT, *variables()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_poison_is_noticed_where_settings_are_read() -> None:
    """The watch above would see a reader: loading the settings is one."""
    script = POISONED_IMPORT.replace(
        "print(", "from service import config\ntry: config.load()\nexcept Exception: pass\nprint("
    )
    done = subprocess.run([sys.executable, "-c", script, *variables()], capture_output=True, text=True, check=True)
    assert "PORT" in done.stdout.split()


def test_nobody_else_reads_the_environment() -> None:
    readers = {
        relative_name(path) for path in source_files("service", "kernels") if _uses_environment(path.read_text())
    }
    assert readers == set(ALLOWED_READERS)


def test_every_settings_class_is_composed() -> None:
    """A class that `config.Settings` does not name would be neither validated at start nor documented."""
    defined = {
        node.name
        for path in source_files("service")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") == "EnvironmentSettings" for base in node.bases)
    }
    assert defined == {settings.__name__ for settings in settings_classes()}


def _uses_environment(text: str) -> bool:
    names = {f"{node.value.id}.{node.attr}" for node in ast.walk(ast.parse(text)) if _is_attribute_of_name(node)}
    return bool(names & {"os.environ", "os.getenv", "os.environb", "os.putenv"})


def _is_attribute_of_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
