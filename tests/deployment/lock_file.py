"""The lock files in deploy/: which there are, and how they are read and written."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.source_code import ROOT

DEPLOY = ROOT / "deploy"
OURSELVES = "reelmill"
_ENTRY = re.compile(
    r"^([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)\n(?:    # via (.+)\n)?", re.MULTILINE
)


@dataclass(frozen=True)
class LockedDistribution:
    """A distribution in one version, the SHA-256 of its wheels, and the distributions that require it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    required_by: tuple[str, ...]


@dataclass(frozen=True)
class Lock:
    """A lock file: for which Dockerfiles and Python, and what it was resolved from."""

    path: Path
    dockerfiles: tuple[str, ...]
    python: str
    extras: tuple[str, ...] = ()
    build: bool = False

    def declared(self) -> list[Requirement]:
        """What pyproject.toml asks for."""
        document = tomllib.loads((ROOT / "pyproject.toml").read_text())
        if self.build:
            return [Requirement(line) for line in document["build-system"]["requires"]]
        project = document["project"]
        extras = [line for name in self.extras for line in project["optional-dependencies"][name]]
        return [Requirement(line) for line in project["dependencies"] + extras]


LOCKS = {
    "build": Lock(DEPLOY / "requirements-build.txt", ("Dockerfile.cpu", "Dockerfile.cuda"), "3.11", build=True),
    "cpu": Lock(DEPLOY / "requirements-cpu.txt", ("Dockerfile.cpu",), "3.11"),
    "cuda": Lock(DEPLOY / "requirements-cuda.txt", ("Dockerfile.cuda",), "3.12", extras=("cuda",)),
}


def read_lock(path: Path) -> list[LockedDistribution]:
    """The entries of a lock file. Raises ValueError for a line that belongs to none."""
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#"))
    entries = [_parse_entry(match) for match in _ENTRY.finditer(text)]
    if rest := _ENTRY.sub("", text).strip():
        raise ValueError(f"{path.name}: {rest.splitlines()[0]!r} is no entry with hashes")
    return entries


def _parse_entry(match: "re.Match[str]") -> LockedDistribution:
    hashes = tuple(re.findall(r"sha256:([0-9a-f]{64})", match[3]))
    required_by = tuple(match[4].split(", ")) if match[4] else ()
    return LockedDistribution(match[1], match[2], hashes, required_by)


def write_lock(lock: Lock, entries: list[LockedDistribution]) -> None:
    uses = " and ".join(lock.dockerfiles)
    head = f"# Installed by {uses}: Python {lock.python}, Linux on x86_64 and aarch64. Made by `make lock`.\n"
    lock.path.write_text(head + "".join(render_entry(entry) for entry in entries))


def render_entry(entry: LockedDistribution) -> str:
    hashes = "".join(f" \\\n    --hash=sha256:{value}" for value in entry.hashes)
    return f"{entry.name}=={entry.version}{hashes}\n    # via {', '.join(entry.required_by)}\n"
