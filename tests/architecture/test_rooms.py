"""Tests are in folders named after the room or file they test."""

from tests.support.source_code import ROOT, source_files

# Folders of tests without a room of the same name, and what they test.
OF_THEIR_OWN = {
    "architecture": "the structure of the source tree",
    "deployment": "Dockerfiles and docker-compose.yml",
    "documentation": "README and docs against the code",
    "end_to_end": "the whole service, from outside",
    "faults": "whole processes that are stopped or killed",
    "specification": "the scenarios of the specification",
    "studio": "the page, which is no Python, in a browser",
    "support": "what many tests use",
}


def test_every_folder_of_tests_is_named_after_a_room_or_a_file() -> None:
    places = {place for path in source_files() for place in (path.parent, path.with_suffix(""))}
    names = {place.relative_to(ROOT).as_posix().removeprefix("service/") for place in places}
    folders = {
        path.parent.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent != ROOT / "tests"
    }
    assert {folder for folder in folders - names if folder.split("/")[0] not in OF_THEIR_OWN} == set()
