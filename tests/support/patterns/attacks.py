"""Hostile texts made from a pattern's own parts, and what a pattern costs on them as they grow."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

CLASS_SAMPLES = {
    ops.CATEGORY_DIGIT: "1",
    ops.CATEGORY_WORD: "a",
    ops.CATEGORY_SPACE: " ",
    ops.CATEGORY_NOT_DIGIT: "a",
    ops.CATEGORY_NOT_WORD: "-",
    ops.CATEGORY_NOT_SPACE: "a",
}
REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)
FILLERS = "a1 -:/.\n"
# What hardly any pattern takes, and nothing.
SUFFIXES = ("\0", "")
LONGEST_REPEAT = 64


@dataclass(frozen=True)
class Attack:
    """`prefix`, then `pump` as often as the length needs, then `suffix`."""

    prefix: str
    pump: str
    suffix: str

    def text(self, length: int) -> str:
        count = max((length - len(self.prefix) - len(self.suffix)) // len(self.pump), 1)
        return self.prefix + self.pump * count + self.suffix


def attacks(pattern: "re.Pattern[Any]") -> Iterator[Attack]:
    """Every beginning of the pattern that can match, with what may follow there repeated, and an end that does not
    match."""
    text = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    pairs: dict[tuple[str, str], None] = {}
    whole = _walk(_parser.parse(text, flags), "", pairs)
    for prefix in dict.fromkeys(prefix for prefix, _ in pairs):
        pairs |= dict.fromkeys((prefix, pump) for pump in (*FILLERS, prefix, whole))
    for prefix, pump in pairs:
        if pump:
            yield from (Attack(prefix, pump, suffix) for suffix in SUFFIXES)


def _walk(tree: Any, before: str, pairs: dict[tuple[str, str], None]) -> str:
    """A text that the pattern matches. Adds to `pairs` each beginning of it, after `before`, with each following part,
    two parts and three; so too for all alternatives and within groups."""
    matched, parts = "", list[tuple[str, str]]()
    for op, value in tree:
        prefix = before + matched
        if op is ops.BRANCH:
            samples = [_walk(branch, prefix, pairs) for branch in value[1]]
            pairs |= dict.fromkeys((prefix, sample) for sample in samples)
            sample = samples[0]
        elif op in REPEATS:
            sample = _walk(value[2], prefix, pairs) * min(max(value[0], 1), LONGEST_REPEAT)
        elif op in (ops.SUBPATTERN, ops.ATOMIC_GROUP):
            sample = _walk(value[3] if op is ops.SUBPATTERN else value, prefix, pairs)
        elif op is ops.ASSERT:
            sample = _walk(value[1], prefix, pairs)
        else:
            sample = _sample(op, value)
        if op is ops.LITERAL and parts and parts[-1][1].isalnum() and sample.isalnum():
            parts[-1] = parts[-1][0], parts[-1][1] + sample
        elif sample:
            parts.append((prefix, sample))
        matched += sample
    samples = [sample for _, sample in parts]
    for number, (prefix, _) in enumerate(parts):
        pairs |= dict.fromkeys((prefix, "".join(samples[number : number + count])) for count in (1, 2, 3))
    return matched


def _sample(op: Any, value: Any) -> str:
    """A character that one element matches; "" for anchors."""
    if op is ops.LITERAL:
        return chr(value)
    if op in (ops.NOT_LITERAL, ops.ANY):
        return next(char for char in "ab" if op is ops.ANY or ord(char) != value)
    return _class_sample(value) if op is ops.IN else ""


def _class_sample(members: Any) -> str:
    """One character of a class."""
    negated = members[0][0] is ops.NEGATE
    accepted = re.compile(_class_source(members))
    return (
        next((char for char in map(chr, (*range(97, 123), *range(32, 1024))) if accepted.match(char)), "a")
        if (negated)
        else _member_sample(members[0])
    )


def _member_sample(member: Any) -> str:
    op, value = member
    if op is ops.LITERAL:
        return chr(value)
    return chr(value[0]) if op is ops.RANGE else CLASS_SAMPLES.get(value, "a")


def _class_source(members: Any) -> str:
    names = {
        ops.CATEGORY_DIGIT: r"\d",
        ops.CATEGORY_WORD: r"\w",
        ops.CATEGORY_SPACE: r"\s",
        ops.CATEGORY_NOT_DIGIT: r"\D",
        ops.CATEGORY_NOT_WORD: r"\W",
        ops.CATEGORY_NOT_SPACE: r"\S",
    }
    source = ""
    for op, value in members:
        if op is ops.NEGATE:
            source += "^"
        elif op is ops.LITERAL:
            source += re.escape(chr(value))
        elif op is ops.RANGE:
            source += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        else:
            source += names[value]
    return f"[{source}]"


# The smallest sizes are for patterns that grow exponentially: 2^22 steps take a tenth of a second.
SCREENING_SIZES = (22, 26, 64, 512, 1024, 4096)
# From the last but one of them to the last, a linear pattern takes four times as long.
SCREEN_S, SCREEN_GROWTH, SCREEN_LIMIT_S = 0.0015, 4.4, 0.05
JUDGED_SIZES, MAX_GROWTH, LIMIT_S, NOISE_S = (4096, 16_384, 65_536), 6.0, 0.5, 0.002
# So much CPU time is no noise: one run says it.
SURELY_SLOW_S = 1.0


def find_slow_attack(pattern: "re.Pattern[Any]", method: str) -> str | None:
    """The attack on which the pattern takes more than linear time, with its figures; None if there is none."""
    worst: tuple[float, Attack] | None = None
    for attack in attacks(pattern):
        before = seconds = 0.0
        for size in SCREENING_SIZES:
            before, seconds = seconds, _least_seconds(pattern, method, attack.text(size), 1)
            if seconds > SCREEN_LIMIT_S:
                seconds = _least_seconds(pattern, method, attack.text(size), 2)
            if seconds > SCREEN_LIMIT_S:
                return f"{attack}: {seconds:.3f} s for {size} characters"
        if worst is None or seconds > worst[0]:
            worst = seconds, attack
        if seconds > max(SCREEN_S, SCREEN_GROWTH * before) and (slow := _judge(pattern, method, attack)):
            return slow
    return _judge(pattern, method, worst[1]) if worst else None


def _judge(pattern: "re.Pattern[Any]", method: str, attack: Attack) -> str | None:
    """Four times the text may take six times the time, each the least of three runs, and no text half a second. What
    looks slow by little is measured again, by the least of nine: another process may have had the caches meanwhile."""
    for size in JUDGED_SIZES[1:]:
        for runs in (3, 9):
            shorter, longer = (_least_seconds(pattern, method, attack.text(each), runs) for each in (size // 4, size))
            if longer <= NOISE_S or (longer <= MAX_GROWTH * shorter and longer <= LIMIT_S):
                break
            if longer > SURELY_SLOW_S:
                return f"{attack}: {longer:.1f} s for {size} characters"
        else:
            return f"{attack}: {longer * 1000:.1f} ms for {size} characters, {shorter * 1000:.1f} ms for a quarter"
    return None


def _least_seconds(pattern: "re.Pattern[Any]", method: str, text: str, runs: int) -> float:
    """The least CPU time of some runs; `search` goes through all matches, as `sub` does."""
    subject: Any = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    least = float("inf")
    for _ in range(runs):
        started = time.thread_time()
        if method == "search":
            for _match in pattern.finditer(subject):
                pass
        else:
            getattr(pattern, method)(subject)
        least = min(least, time.thread_time() - started)
        if least > SURELY_SLOW_S:
            break
    return least
