"""All facts of one question."""

from collections.abc import Iterable
from datetime import datetime

from service.agent.facts.amounts import find_amounts, find_numbers
from service.agent.facts.facts import Facts
from service.agent.facts.names import find_names
from service.agent.facts.times import find_times
from service.agent.facts.vocabulary import to_english_times
from service.agent.session import QuerySession
from service.errors import GatewayTimeout, QueryRefusal


async def find_facts(session: QuerySession, question: str, now: datetime) -> Facts:
    """`now` has the time zone in which days begin. There are no names if they cannot be looked up in time."""
    times = find_times(question, now)
    rest = _without(to_english_times(question), (found.words for found in times))
    amounts = find_amounts(rest)
    numbers = find_numbers(_without(rest, (found.words for found in amounts)))
    try:
        names = await find_names(session, question)
    except (QueryRefusal, GatewayTimeout):
        names = ()
    return Facts(names, times, amounts, numbers)


def _without(question: str, expressions: Iterable[str]) -> str:
    """The 3 of "the last 3 days" is no number to compare with."""
    for words in expressions:
        question = question.replace(words, " ")
    return question
