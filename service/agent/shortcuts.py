"""Recognise the common questions. Pure: words in, a question of ours out, or nothing."""

import re
from collections.abc import Awaitable, Callable
from functools import partial

from service.agent import known_questions, renders
from service.agent.desk import Desk, Told
from service.agent.lookup import QUOTED, Named

Shortcut = Callable[[Desk], Awaitable[Told]]
MAX_CHARACTERS = 300
PLEASE = r"(?:please |can you |could you |would you )*"
SHOW = r"(?:(?:list|show|show me|give me|tell me|what are|which are|what is|what's|which is|what was) )?"
NAME = r"(?P<name>\S(?:.*?\S)??)"
"""As short as what follows allows."""
FRAMES = tuple(
    re.compile(PLEASE + pattern, re.IGNORECASE)
    for pattern in (
        rf"how many (?:frames|images|pictures) (?:has|have|does|do|did|are there in|are in|in|of) {NAME}"
        r"(?: have| has| contain| contains| hold| got)?",
        rf"{SHOW}(?:the )?(?:number of frames|frame count|frame number) (?:of|in|for) {NAME}",
    )
)
LATEST = re.compile(
    rf"{PLEASE}{SHOW}(?:the |all )?(?P<mine>my )?(?:(?P<before>\d{{1,4}}) )?(?:latest|newest|most recent|last|recent)"
    r"(?: (?P<after>\d{1,4}))? experiment(?P<many>s)?",
    re.IGNORECASE,
)
EXPERIMENTS = re.compile(
    rf"{PLEASE}(?:how many(?P<my> of my)? experiments(?: (?:are there|exist|can i see|do we have|are visible"
    rf"|(?P<mine>do i have|have i|do i own|are mine)))?|{SHOW}(?:the )?number of(?P<own> my)? experiments)",
    re.IGNORECASE,
)
DATASETS = tuple(
    re.compile(PLEASE + pattern, re.IGNORECASE)
    for pattern in (
        rf"{SHOW}(?:all )?(?:the )?datasets (?:of|in|from|for|are in) {NAME}",
        rf"(?:which|what) datasets (?:has|have|does|do|are in|are there in|belong to) {NAME}(?: have| has| contain)?",
    )
)
RENDER = re.compile(
    rf"{PLEASE}(?:(?:render|make|create|generate|produce|build)(?: me)?(?: an?| the)?"
    rf" (?:video|movie|film|clip|time-?lapse)(?: (?:of|from|for|out of))?|render(?: of| from)?) {NAME}",
    re.IGNORECASE,
)
SPEED = re.compile(
    r"(?:\b(?:at|with|in|and|of) )?(?<![\w.-])(?P<fps>\d{1,9}(?:\.\d{1,9})?) ?"
    r"(?:fps|frames per second|frames a second)\b",
    re.IGNORECASE,
)
STEPS = {"other": 2, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "tenth": 10}
STEP = re.compile(
    r"(?:\b(?:with|using|and|keeping|keep|taking|take|use|from|of|only|just) )*\b(?:"
    r"every (?:(?P<nth>\d{1,9})(?:st|nd|rd|th)? |(?P<word>other|second|third|fourth|fifth|tenth) )?frames?"
    r"|one (?:frame )?(?:in|of|out of) (?P<of>\d{1,9})(?: frames)?"
    r"|decimat(?:ion|ed|e)(?: factor)?(?: of| by)? (?P<by>\d{1,9}))\b",
    re.IGNORECASE,
)
LEFT_OVER = re.compile(r"(?:[\s,;]+|\s(?:and|with|at|using|in))+$", re.IGNORECASE)
PLACEHOLDER = "\ue000"
"""Stands for the quoted name while the rest is read."""


def matching(question: str) -> Shortcut | None:
    """The question of ours that these words are; None when a model has to read them."""
    words = " ".join(question.split()).rstrip("?!. ")
    if not words or len(words) > MAX_CHARACTERS or PLACEHOLDER in words:
        return None
    quoted = QUOTED.search(words)
    name = Named(quoted[1] or quoted[2], quoted=True) if quoted else None
    if quoted:
        words = f"{words[: quoted.start()]}{PLACEHOLDER}{words[quoted.end() :]}"
    return _about_all(words) or _about_one(words, name) or _render(words, name)


def _about_all(words: str) -> Shortcut | None:
    if found := EXPERIMENTS.fullmatch(words):
        return partial(known_questions.count_experiments, mine=any(found.groups()))
    if found := LATEST.fullmatch(words):
        count = int(found["before"] or found["after"] or (known_questions.LATEST if found["many"] else 1))
        return partial(known_questions.latest_experiments, count=count, mine=bool(found["mine"]))
    return None


def _about_one(words: str, quoted: Named | None) -> Shortcut | None:
    for patterns, question in ((FRAMES, known_questions.count_frames), (DATASETS, known_questions.list_datasets)):
        for pattern in patterns:
            if found := pattern.fullmatch(words):
                return partial(question, name=_name(found["name"], quoted))
    return None


def _render(words: str, quoted: Named | None) -> Shortcut | None:
    fields: dict[str, object] = {}
    if speed := SPEED.search(words):
        fields["fps"] = float(speed["fps"])
        words = _without(words, speed)
    if step := STEP.search(words):
        number = step["nth"] or step["of"] or step["by"]
        fields["decimation_factor"] = int(number) if number else STEPS.get((step["word"] or "").lower(), 1)
        words = _without(words, step)
    found = RENDER.fullmatch(LEFT_OVER.sub("", words))
    return None if found is None else partial(renders.render, name=_name(found["name"], quoted), fields=fields)


def _without(words: str, found: "re.Match[str]") -> str:
    return " ".join(f"{words[: found.start()]} {words[found.end() :]}".split())


def _name(words: str, quoted: Named | None) -> Named:
    """The quoted name, when the words are it (perhaps as "the experiment …"); else the words."""
    if quoted is None:
        return Named(words)
    around = Named(words.replace(PLACEHOLDER, quoted.words))
    return quoted if Named(words).candidates[-1] == PLACEHOLDER else around
