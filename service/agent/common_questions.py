"""Common questions, recognised by regular expressions and answered without a model."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from service.agent.answers import NOT_UNDERSTOOD_TEXT
from service.agent.facts.facts import Facts
from service.agent.lookup import QUOTED_NAME, NameReference, Row, find_by_name
from service.agent.renders.options import find_options, find_rate
from service.agent.renders.requests import RequestedRender, prepare_first, unknown_name_answer
from service.agent.session import QuerySession, TextAnswer

DEFAULT_LATEST_COUNT = 10


async def count_frames(session: QuerySession, name: NameReference) -> TextAnswer:
    """Answer "how many frames has NAME?"."""
    found = await find_by_name(session, name)
    if found.experiments:
        return TextAnswer(f"The experiment {found.experiments[0]['name']} has no datasets, so it has no frames.")
    if not found.datasets:
        return unknown_name_answer(name)
    parts = [f"dataset {_dataset_label(row)}: {row['frame_count']:,}{_state_suffix(row)}" for row in found.datasets]
    total = sum(row["frame_count"] for row in found.datasets)
    experiments = sorted({str(row["experiment_name"]) for row in found.datasets})
    return TextAnswer(f"{', '.join(experiments)}: {total:,}{_truncation_suffix(session)} frames ({'; '.join(parts)}).")


async def list_datasets(session: QuerySession, name: NameReference) -> TextAnswer:
    """Answer "list datasets of NAME"."""
    found = await find_by_name(session, name)
    if found.experiments:
        return TextAnswer(f"The experiment {found.experiments[0]['name']} has no datasets.")
    if not found.datasets:
        return unknown_name_answer(name)
    parts = [f"{_dataset_label(row)} ({row['frame_count']:,} frames, {row['state']})" for row in found.datasets]
    return TextAnswer(f"{_format_count(len(parts), 'dataset', _truncation_suffix(session))}: {', '.join(parts)}.")


async def latest_experiments(session: QuerySession, count: int, mine: bool) -> TextAnswer:
    """Answer "latest experiments"."""
    filters = {"owner": session.caller.subject} if mine else ()
    columns = ["id", "name", "owner", "visibility", "created_at"]
    rows = await session.fetch_rows(
        table="experiments", columns=columns, filters=filters, order_by=["-created_at"], limit=max(1, count)
    )
    if not rows:
        return TextAnswer("There are no experiments that you may see." if not mine else "You have no experiments.")
    parts = [f"{row['name']} ({row['created_at'][:10]})" for row in rows]
    return TextAnswer(f"The latest {_format_count(len(rows), 'experiment')}: {', '.join(parts)}.")


async def count_experiments(session: QuerySession, mine: bool) -> TextAnswer:
    """Answer "how many experiments are there?"."""
    filters = {"owner": session.caller.subject} if mine else ()
    rows = await session.fetch_rows(table="experiments", filters=filters, aggregates=[{"function": "count"}])
    whose = "that you own" if mine else "that you may see"
    count = rows[0]["count"]
    return TextAnswer(f"There {'is' if count == 1 else 'are'} {_format_count(count, 'experiment')} {whose}.")


def _dataset_label(row: Row) -> str:
    return f"{row['name']} of {row['experiment_name']}" if row["experiment_name"] else str(row["name"])


def _state_suffix(row: Row) -> str:
    return "" if row["state"] == "ready" else f", {row['state']}"


def _format_count(count: int, noun: str, more: str = "") -> str:
    return f"{count:,}{more} {noun}{'' if count == 1 else 's'}"


def _truncation_suffix(session: QuerySession) -> str:
    return " or more" if session.result is not None and session.result.truncated else ""


Intent = Callable[[QuerySession], Awaitable[TextAnswer]]
MAX_QUESTION_CHARACTERS = 300
PLEASE_PATTERN = r"(?:please |can you |could you |would you ){0,3}"
SHOW_PATTERN = r"(?:(?:list|show|show me|give me|tell me|what are|which are|what is|what's|which is|what was) )?"
# Matches as little as the rest of the pattern allows.
NAME_PATTERN = r"(?P<name>\S(?:.*?\S)??)"
FRAME_COUNT_PATTERNS = tuple(
    re.compile(PLEASE_PATTERN + pattern, re.IGNORECASE)
    for pattern in (
        rf"how many (?:frames|images|pictures) (?:has|have|does|do|did|are there in|are in|in|of) {NAME_PATTERN}"
        r"(?: have| has| contain| contains| hold| got)?",
        rf"{SHOW_PATTERN}(?:the )?(?:number of frames|frame count|frame number) (?:of|in|for) {NAME_PATTERN}",
    )
)
LATEST_PATTERN = re.compile(
    rf"{PLEASE_PATTERN}{SHOW_PATTERN}(?:the |all )?(?P<mine>my )?(?:(?P<before>\d{{1,4}}) )?"
    r"(?:latest|newest|most recent|last|recent)"
    r"(?: (?P<after>\d{1,4}))? experiment(?P<many>s)?",
    re.IGNORECASE,
)
EXPERIMENT_COUNT_PATTERN = re.compile(
    rf"{PLEASE_PATTERN}(?:how many(?P<my> of my)? experiments(?: (?:are there|exist|can i see|do we have|are visible"
    rf"|(?P<mine>do i have|have i|do i own|are mine)))?|{SHOW_PATTERN}(?:the )?number of(?P<own> my)? experiments)",
    re.IGNORECASE,
)
DATASETS_PATTERNS = tuple(
    re.compile(PLEASE_PATTERN + pattern, re.IGNORECASE)
    for pattern in (
        rf"{SHOW_PATTERN}(?:all )?(?:the )?datasets (?:of|in|from|for|are in) {NAME_PATTERN}",
        rf"(?:which|what) datasets (?:has|have|does|do|are in|are there in|belong to) {NAME_PATTERN}"
        r"(?: have| has| contain)?",
    )
)
RENDER_PATTERN = re.compile(
    rf"{PLEASE_PATTERN}(?:(?:render|make|create|generate|produce|build)(?: me)?(?: an?| the)?"
    rf" (?:video|movie|film|clip|time-?lapse)(?: (?:of|from|for|out of))?|render(?: of| from)?) {NAME_PATTERN}",
    re.IGNORECASE,
)
TRAILING_WORDS = frozenset({"and", "with", "at", "using", "in", "please", "pls", "thanks"})
# Replaces the quoted name while the rest of the question is matched.
PLACEHOLDER = "\ue000"


def match_intent(question: str) -> Intent | None:
    """The common question that the text asks; None if a model has to read it."""
    words = " ".join(question.split()).rstrip("?!. ")
    if not words or len(words) > MAX_QUESTION_CHARACTERS or PLACEHOLDER in words:
        return None
    quoted = QUOTED_NAME.search(words)
    name = NameReference(quoted[1] or quoted[2], is_quoted=True) if quoted else None
    if quoted:
        words = f"{words[: quoted.start()]}{PLACEHOLDER}{words[quoted.end() :]}"
    return _match_general(words) or _match_named(words, name) or _match_render(words, name)


def with_name(intent: Intent, name: NameReference) -> Intent:
    """The same question about another name. Of several readings, the last one: names are not misspelt as options."""
    assert isinstance(intent, partial)
    if readings := intent.keywords.get("readings"):
        return partial(intent.func, readings=[replace(readings[-1], name=name)])
    return partial(intent.func, **intent.keywords | {"name": name})


def suggest_question(table: str, facts: Facts) -> str:
    """The answer to a question that could not be turned into a query: the nearest one that can be answered."""
    name = f'"{facts.names[0].name}"' if facts.names else "NAME"
    nearest = {
        "experiments": "latest experiments",
        "datasets": f"list datasets of {name}",
        "frames": f"how many frames has {name}?",
    }.get(table, "how many experiments are there?")
    return f"{NOT_UNDERSTOOD_TEXT} The nearest question that I know: {nearest}"


def _match_general(words: str) -> Intent | None:
    if match := EXPERIMENT_COUNT_PATTERN.fullmatch(words):
        return partial(count_experiments, mine=any(match.groups()))
    if match := LATEST_PATTERN.fullmatch(words):
        count = int(match["before"] or match["after"] or (DEFAULT_LATEST_COUNT if match["many"] else 1))
        return partial(latest_experiments, count=count, mine=bool(match["mine"]))
    return None


def _match_named(words: str, quoted: NameReference | None) -> Intent | None:
    for patterns, intent in ((FRAME_COUNT_PATTERNS, count_frames), (DATASETS_PATTERNS, list_datasets)):
        for pattern in patterns:
            if match := pattern.fullmatch(words):
                return partial(intent, name=_resolve_name(match["name"], quoted))
    return None


def _match_render(words: str, quoted: NameReference | None) -> Intent | None:
    """Two readings: a name may have words that can also be options, as `plasma` or a date."""
    readings = [
        RequestedRender(_resolve_name(match["name"], quoted), options)
        for options in (find_rate(words), find_options(words, datetime.now(UTC)))
        if (match := RENDER_PATTERN.fullmatch(_drop_trailing_words(options.rest)))
    ]
    return partial(prepare_first, readings=readings) if readings else None


def _drop_trailing_words(words: str) -> str:
    """Without what is left at the end of a sentence once rate and decimation are taken out of it."""
    parts = words.split(" ")
    while parts and (bare := parts[-1].rstrip(",;")).lower() in TRAILING_WORDS | {""}:
        parts.pop()
    return " ".join([*parts[:-1], bare]) if parts else ""


def _resolve_name(words: str, quoted: NameReference | None) -> NameReference:
    """The quoted name if it is all there is, possibly after "the experiment"; else all words."""
    if quoted is None:
        return NameReference(words)
    if NameReference(words).candidates[-1] == PLACEHOLDER:
        return quoted
    return NameReference(words.replace(PLACEHOLDER, quoted.text))
