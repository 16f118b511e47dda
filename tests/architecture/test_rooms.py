"""The tests have the rooms of what they test."""

from tests.support.source_code import ROOT, source_files

OF_THEIR_OWN = {
    "architecture": "the structure of the tree itself",
    "commands": "a room of service/commands",
    "deployment": "Dockerfiles and docker-compose.yml",
    "documentation": "README and docs against the code",
    "end_to_end": "the whole service, from outside",
    "faults": "whole processes, stopped and killed",
    "specification": "the user's scenarios",
    "support": "what many tests use",
}
# Folders of tests without a room of the same name, and what they are about.


def test_every_folder_of_tests_is_named_after_a_room() -> None:
    rooms = {path.parent.relative_to(ROOT).as_posix().removeprefix("service/") for path in source_files()}
    folders = {
        path.parent.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent != ROOT / "tests"
    }
    strangers = {folder for folder in folders - rooms if folder.split("/")[0] not in OF_THEIR_OWN}
    assert strangers == set()
