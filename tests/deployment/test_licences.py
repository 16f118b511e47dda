"""Every locked distribution and every library inside it has a licence that a person has looked at."""

from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata

import pytest

from tests.deployment.licences import bundled_libraries, distribution_licences, unreviewed_licences
from tests.deployment.lock_file import LOCKS, read_lock
from tests.support.source_code import ROOT

LOCKED = {entry.name: entry.version for lock in LOCKS.values() for entry in read_lock(lock.path)}
# How metadata without an SPDX expression names licences.
SPDX_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD",
    "BSD License": "BSD",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
LEFT_TO_CLASSIFIERS = "Dual License"


def declared_licences(document: Message) -> list[str]:
    """What the metadata of a wheel says, as SPDX where it can be."""
    if expression := document["License-Expression"]:
        return [expression]
    classifiers = [
        line.split(" :: ")[-1] for line in document.get_all("Classifier", []) if line.startswith("License ::")
    ]
    names = [name for name in (document["License"] or "", *classifiers) if name and name != LEFT_TO_CLASSIFIERS]
    return [SPDX_NAMES.get(name, name) for name in names]


def test_the_list_is_that_of_the_locks() -> None:
    assert set(distribution_licences()) == set(LOCKED)
    assert set(bundled_libraries()) <= set(LOCKED)


def test_it_says_what_the_wheels_say() -> None:
    """Compared with those that are installed here in the locked version; the CUDA image's others were read by hand."""
    wrong, compared = {}, 0
    for name, locked in LOCKED.items():
        try:
            document = metadata(name)
        except PackageNotFoundError:
            continue
        if document["Version"] == locked:
            compared += 1
            declared = declared_licences(document)
            if not declared or any(said not in distribution_licences()[name] for said in declared):
                wrong[name] = declared
    assert (wrong, compared > 0) == ({}, True)


def test_every_licence_has_been_reviewed() -> None:
    found = {name: list(unreviewed_licences(name, licence)) for name, licence in distribution_licences().items()}
    for name, libraries in bundled_libraries().items():
        found[name] += [part for library in libraries for part in unreviewed_licences(name, library.licence)]
    assert {name: parts for name, parts in found.items() if parts} == {}


@pytest.mark.parametrize(
    ("name", "expression", "unreviewed"),
    [
        ("six", "GPL-3.0-only", ["GPL-3.0-only"]),
        ("six", "MIT AND GPL-3.0-only", ["GPL-3.0-only"]),
        ("six", "GPL-3.0-only OR MIT", []),
        ("six", "GPL-2.0-or-later", ["GPL-2.0-or-later"]),
        ("av", "GPL-2.0-or-later", []),
    ],
)
def test_a_new_licence_is_noticed(name: str, expression: str, unreviewed: list[str]) -> None:
    assert list(unreviewed_licences(name, expression)) == unreviewed


def test_what_is_copyleft_or_proprietary_is_explained() -> None:
    page = (ROOT / "docs/licences.md").read_text()
    for name, libraries in bundled_libraries().items():
        for library in libraries:
            if "GPL" in library.licence.split(" OR ")[0] and "exception" not in library.licence:
                assert library.name in page, f"{library.name} inside {name}"
