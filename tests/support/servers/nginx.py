"""A real nginx in front of the API, with the configuration that docs/operation.md recommends."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.embedded.cluster import find_free_port
from tests.support.servers.listening import wait_until_listening
from tests.support.source_code import ROOT

PROGRAM = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
TIMEOUT_S = 10.0


def documented_configuration() -> str:
    """The `http` part of the configuration, as it is printed in the documentation."""
    (block,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/operation.md").read_text(), re.DOTALL)
    return str(block)


@contextmanager
def nginx(folder: Path, api_port: int) -> Iterator[int]:
    """Yield the port on which it listens, without TLS, which is the only change to the documented configuration."""
    assert PROGRAM is not None
    port = find_free_port()
    http = documented_configuration().replace("127.0.0.1:5003", f"127.0.0.1:{api_port}")
    http = re.sub(r"listen [^;]*;", f"listen 127.0.0.1:{port};", http)
    http = re.sub(r" *ssl_certificate[^;]*;\n", "", http)
    paths = "".join(f"{name}_temp_path {folder};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    top = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
    configuration = folder / "nginx.conf"
    configuration.write_text(f"{top}http {{\naccess_log off;\n{paths}{http}}}\n")
    process = subprocess.Popen([PROGRAM, "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(configuration)])
    try:
        wait_until_listening(process, port, TIMEOUT_S)
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
