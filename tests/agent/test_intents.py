"""Which questions are recognised as common, and with which arguments."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.agent.common_questions import match_intent
from service.agent.lookup import NameReference
from service.agent.renders.requests import RequestedRender

PLAIN_NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9_%\\.-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(
    lambda name: name.lower() not in {"the", "my", "in", "at", "me", "an"}
)


def matched_intent(question: str) -> tuple[str, dict[str, Any]] | None:
    found = match_intent(question)
    return None if found is None else (found.func.__name__, found.keywords)  # type: ignore[attr-defined]


def matched_render(question: str) -> tuple[str, RequestedRender]:
    """The last reading, with all its options."""
    name, given = matched_intent(question) or ("", {})
    return name, given["readings"][-1]


@pytest.mark.parametrize(
    "question",
    [
        "how many frames has fish",
        "How many frames does the experiment fish have?",
        "how many frames are there in fish?",
        "  how   many images are in  experiment fish ?? ",
        "number of frames of fish",
        "what is the frame count of the dataset fish",
        "please tell me the number of frames in 'fish'",
    ],
)
def test_how_many_frames(question: str) -> None:
    name, given = matched_intent(question) or ("", {})
    assert name == "count_frames" and given["name"].candidates[-1] == "fish" and given["name"].is_unambiguous


@pytest.mark.parametrize(
    ("question", "count", "mine"),
    [
        ("latest experiments", 10, False),
        ("what are the 5 most recent experiments?", 5, False),
        ("Show me my latest experiment", 1, True),
        ("last 3 experiments", 3, False),
        ("list my newest experiments", 10, True),
    ],
)
def test_latest(question: str, count: int, mine: bool) -> None:
    assert matched_intent(question) == ("latest_experiments", {"count": count, "mine": mine})


@pytest.mark.parametrize(
    ("question", "mine"),
    [
        ("how many experiments", False),
        ("How many experiments are there?", False),
        ("how many experiments do I have?", True),
        ("what is the number of my experiments", True),
    ],
)
def test_how_many_experiments(question: str, mine: bool) -> None:
    assert matched_intent(question) == ("count_experiments", {"mine": mine})


@pytest.mark.parametrize("question", ["list datasets of fish", "which datasets does fish have?", "datasets in «fish»"])
def test_datasets(question: str) -> None:
    name, given = matched_intent(question) or ("", {})
    assert name == "list_datasets" and given["name"].candidates == ("fish",)


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("render fish at 30 fps", {"fps": 30.0}),
        ("render fish", {}),
        ("make a video of fish with every 4th frame at 24 fps", {"fps": 24.0, "decimation_factor": 4}),
        ("create a movie from fish at 12.5 fps, keeping one frame in 3", {"fps": 12.5, "decimation_factor": 3}),
        ("render a video of every other frame of fish at 10 frames per second", {"fps": 10.0, "decimation_factor": 2}),
        (
            "please generate a timelapse of dataset fish decimated by 10 and 60fps",
            {"fps": 60.0, "decimation_factor": 10},
        ),
        ("could you make me a video from fish, every third frame, at 25 fps?", {"fps": 25.0, "decimation_factor": 3}),
        ("render every frame of fish", {"decimation_factor": 1}),
    ],
)
def test_render(question: str, fields: dict[str, Any]) -> None:
    name, render = matched_render(question)
    assert (name, render.name.candidates[-1], render.options.fields) == ("prepare_first", "fish", fields)


def test_a_quoted_name_may_hold_anything() -> None:
    _, render = matched_render('make a video of "at 30 fps, every 4th frame" at 24 fps')
    assert render.name == NameReference("at 30 fps, every 4th frame", is_quoted=True)
    assert render.options.fields == {"fps": 24.0}


@pytest.mark.parametrize(
    "question",
    [
        "how many renders failed yesterday?",
        "make an experiment",
        "create an experiment named fish",
        "delete the latest experiments",
        "how many experiments did bob make?",
        "hello",
        "?",
        "render" + " very" * 100 + " long",
    ],
)
def test_what_a_model_has_to_read(question: str) -> None:
    assert match_intent(question) is None


@given(
    st.text(max_size=400) | st.from_regex(r"(render|how many|list|datasets|latest|every|frames?| |\"|\d+|fps){1,12}")
)
def test_any_text_is_looked_at(text: str) -> None:
    found = matched_intent(text)
    assert found is None or not re.search(r"^\s*$", found[0])


@given(PLAIN_NAME, st.integers(1, 10**6), st.integers(1, 10**6))
def test_names_and_figures_come_through(name: str, fps: int, step: int) -> None:
    for question in (f"how many frames has {name}", f"list datasets of {name}", f"number of frames in {name}?"):
        assert (matched_intent(question) or ("", {}))[1]["name"].text == name
    _, render = matched_render(f"make a video of '{name}' with every {step}th frame at {fps} fps")
    assert render.name == NameReference(name, is_quoted=True)
    assert render.options.fields == {"fps": float(fps), "decimation_factor": step}


@pytest.mark.parametrize("rest", [", with", " and , using;", ",;,;,; in", "," * 40, "; at at at ,,,"])
def test_what_is_left_at_the_end_of_a_sentence_is_dropped(rest: str) -> None:
    assert matched_render(f"render fish{rest}")[1].name.text == "fish"


def test_many_separators_take_no_time() -> None:
    """They took exponential time: 40 of them, the rest of the day."""
    assert matched_render(f"render fish{',' * 40}x")[1].name.text.startswith("fish,")
