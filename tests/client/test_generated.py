"""What of the client follows from the API is up to date, and every route can be reached."""

import inspect
import re

import pytest

import reelmill
from service.client.operations import OPERATIONS
from service.client.requests import fill_path, path_parameters
from tests.client.blocking_classes import ATTRIBUTES, LEFT_OUT
from tests.client.generate import format_code, modules

HINT = "python -m tests.client.generate"


def test_the_generated_modules_are_up_to_date() -> None:
    stale = [path.name for path, text in modules().items() if path.read_text() != format_code(text)]
    assert stale == [], HINT


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_parameter_of_a_path_is_asked_for(operation: str) -> None:
    _, path = OPERATIONS[operation]
    names = re.findall(r"{(\w+)}", path)
    assert path_parameters(path) == names
    filled, rest = fill_path(path, dict.fromkeys(names, "a b/c") | {"other": 1})
    assert rest == {"other": 1} and "{" not in filled and filled.count("a%20b/c") == len(names)
    for name in names:
        with pytest.raises(TypeError, match=name):
            fill_path(path, {})


def test_both_kinds_of_the_client_have_the_same_methods() -> None:
    for name in (
        "Reelmill",
        "Experiments",
        "Experiment",
        "Datasets",
        "Dataset",
        "Frame",
        "Frames",
        "Renders",
        "Render",
        "Presets",
        "Preset",
        "Schedules",
        "Schedule",
        "ScheduleRun",
    ):
        there, here = getattr(reelmill, f"Async{name}"), getattr(reelmill, name)
        wanted = {each for each in vars(there) if not each.startswith("_")} - LEFT_OUT - {"estimate"}
        assert wanted <= set(dir(here)), name
        waiting = [each for each in wanted if inspect.iscoroutinefunction(inspect.getattr_static(here, each))]
        assert waiting == [], name
    assert all(isinstance(vars(reelmill.Render)[name], property) for _, name in ATTRIBUTES)


def test_what_is_public_is_listed() -> None:
    found = {name for name in vars(reelmill) if not name.startswith("_") and name != "annotations"}
    assert found == set(reelmill.__all__)
