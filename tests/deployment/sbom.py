"""The bills of materials in deploy/ (CycloneDX 1.6): `python -m tests.deployment.sbom` writes them.

They are made from the lock files and the two TOML files beside them alone, so that the same input gives the same bytes.
"""

import hashlib
import json
import tomllib
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.deployment.licences import BundledLibrary, bundled_libraries, distribution_licences
from tests.deployment.lock_file import DEPLOY, LOCKS, OURSELVES, Lock, LockedDistribution, read_lock
from tests.support.source_code import ROOT

IMAGES = ("cpu", "cuda")
Json = dict[str, Any]


def sbom_path(image: str) -> Path:
    return DEPLOY / f"sbom-{image}.cdx.json"


def render_sbom(lock: Lock) -> str:
    """The bill of materials of what a lock file installs, as JSON."""
    entries = read_lock(lock.path)
    bill: Json = {
        "metadata": {"lifecycles": [{"phase": "pre-build"}], "component": _ourselves()},
        "components": [_component(entry) for entry in entries],
        "dependencies": _dependencies(entries),
        # The base image, Python itself, and crates and sources inside wheels are not listed.
        "compositions": [{"aggregate": "incomplete", "assemblies": [_ourselves()["bom-ref"]]}],
    }
    digest = hashlib.sha256(json.dumps(bill).encode()).hexdigest()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{OURSELVES}:{digest}")
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return json.dumps(head | bill, indent=1) + "\n"


def _ourselves() -> Json:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "type": "application",
        "bom-ref": OURSELVES,
        "name": OURSELVES,
        "version": project["version"],
        "licenses": [{"expression": project["license"]}],
    }


def _component(entry: LockedDistribution) -> Json:
    purl = _purl(entry)
    hashes = [{"alg": "SHA-256", "content": value} for value in entry.hashes]
    index = f"https://pypi.org/project/{entry.name}/{entry.version}/#files"
    bundled = bundled_libraries().get(entry.name, [])
    return {
        "type": "library",
        "bom-ref": purl,
        "name": entry.name,
        "version": entry.version,
        "licenses": [{"expression": distribution_licences()[entry.name]}],
        "purl": purl,
        "externalReferences": [{"type": "distribution", "url": index, "hashes": hashes}],
    } | ({"components": [_bundled_component(purl, library) for library in bundled]} if bundled else {})


def _bundled_component(wheel: str, library: BundledLibrary) -> Json:
    return {
        "type": "library",
        "bom-ref": f"{wheel}#{library.name}",
        "name": library.name,
        "licenses": [{"expression": library.licence}],
    } | ({"version": library.version, "purl": _library_purl(library)} if library.version else {})


def _library_purl(library: BundledLibrary) -> str:
    return f"pkg:generic/{quote(library.name.lower())}@{quote(library.version or '')}"


def _dependencies(entries: list[LockedDistribution]) -> list[Json]:
    """Who needs whom: the lock says of each distribution who requires it."""
    references = {OURSELVES: OURSELVES} | {entry.name: _purl(entry) for entry in entries}
    return [
        {"ref": reference, "dependsOn": [_purl(entry) for entry in entries if name in entry.required_by]}
        for name, reference in references.items()
    ]


def _purl(entry: LockedDistribution) -> str:
    return f"pkg:pypi/{entry.name}@{entry.version}"


if __name__ == "__main__":
    for image in IMAGES:
        sbom_path(image).write_text(render_sbom(LOCKS[image]))
