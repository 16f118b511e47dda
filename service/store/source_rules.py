"""Which sources datasets may be read from, and by whom: the value of MINIO_SOURCES. Pure functions."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote

EVERYBODY = "*"
BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
# Who was let in beside those whom a rule names: an admin, or the one owner of a bucket that is listed without a name.
Grant = Literal["admin", "only_owner"]


@dataclass(frozen=True, slots=True)
class Reader:
    """The owner of a dataset's experiment, and the grant with which the dataset was registered, if it needed one."""

    subject: str
    grant: Grant | None = None


@dataclass(frozen=True, slots=True)
class SourceRule:
    """These subjects may read what is below `prefix`, a folder that ends with a slash, or "" for the whole bucket.

    `subjects` is None for everybody, and empty for the one owner of a bucket that is listed without a name.
    """

    bucket: str
    prefix: str
    subjects: frozenset[str] | None

    def allows(self, reader: Reader) -> bool:
        if self.subjects is None or reader.grant == "admin" or reader.subject in self.subjects:
            return True
        return self.is_for_one_owner and reader.grant == "only_owner"

    @property
    def is_for_one_owner(self) -> bool:
        return self.subjects == frozenset()


@dataclass(frozen=True, slots=True)
class SourceRules:
    """All rules, and the service's own bucket, which no rule may name."""

    own_bucket: str
    rules: tuple[SourceRule, ...] = ()

    def allows(self, bucket: str, prefix: str, reader: Reader) -> bool:
        """Whether the reader may read every object whose key begins with `prefix`.

        The longest rule that covers all of them must let the reader in, and so must every rule inside. What gives the
        right is compared exactly; what denies it, without regard to case, Unicode forms, percent-encoding and trailing
        dots, because some file systems and gateways have none either.
        """
        covering = [rule for rule in self._rules_of(bucket) if bucket == rule.bucket and prefix.startswith(rule.prefix)]
        if has_odd_parts(prefix) or not covering or not max(covering, key=_length).allows(reader):
            return False
        wanted, around, inside = fold(prefix), list[SourceRule](), list[SourceRule]()
        for rule in self._rules_of(bucket):
            if wanted.startswith(folder := fold(rule.prefix)):
                around.append(rule)
            elif folder.startswith(wanted):
                inside.append(rule)
        closest = max(around, key=lambda rule: len(fold(rule.prefix)))
        return all(rule.allows(reader) for rule in (closest, *inside))

    def prefixes_for(self, bucket: str, reader: Reader) -> list[str]:
        """The prefixes of this bucket that a rule opens to the reader."""
        return sorted(rule.prefix for rule in self.rules if rule.bucket == bucket and rule.allows(reader))

    def is_for_one_owner(self, bucket: str) -> bool:
        return any(rule.bucket == bucket and rule.is_for_one_owner for rule in self.rules)

    def _rules_of(self, bucket: str) -> Iterator[SourceRule]:
        name = fold(bucket)
        return (rule for rule in self.rules if fold(rule.bucket) == name)


def has_odd_parts(prefix: str) -> bool:
    """Whether a file system could take the prefix for another one: it has empty parts, `.` or `..`."""
    *folders, last = prefix.split("/")
    return any(part in ("", ".", "..") for part in folders) or last in (".", "..")


def _length(rule: SourceRule) -> int:
    return len(rule.prefix)


@lru_cache(maxsize=4096)
def fold(path: str) -> str:
    """The path as a file system or gateway could take it that is less exact than we are."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", unquote(path)).casefold())
    return "/".join(part.rstrip(". ") for part in plain.split("/"))


@lru_cache(maxsize=4)
def parse_sources(value: str, own_bucket: str) -> SourceRules:
    """Parse `camera-a/=alice,lab/raw/=bob|carol,shared=*`, the same as a JSON object, or the names of buckets alone.

    Raises ValueError, which says what is wrong without repeating the value.
    """
    entries = _parse_json(value) if value.lstrip().startswith("{") else _parse_list(value)
    rules: dict[tuple[str, str], SourceRule] = {}
    for number, (place, subjects) in enumerate(entries, 1):
        rule = _to_rule(place, subjects, number)
        if fold(rule.bucket) == fold(own_bucket):
            raise ValueError(f"entry {number} names MINIO_BUCKET, the service's own bucket, which is no source")
        if rules.setdefault((fold(rule.bucket), fold(rule.prefix)), rule) is not rule:
            raise ValueError(
                f"entry {number} names the same place as an earlier one, or one that is easily taken for it"
            )
    return SourceRules(own_bucket, tuple(rules.values()))


def _parse_json(value: str) -> Iterable[tuple[str, frozenset[str] | None]]:
    try:
        pairs = json.loads(value, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise ValueError("it begins with { but is not a JSON object") from error
    for number, (place, who) in enumerate(pairs, 1):
        yield place, None if who == EVERYBODY else _to_subjects(who, number)


def _to_subjects(who: Any, number: int) -> frozenset[str]:
    names = isinstance(who, list) and all(isinstance(name, str) and name not in ("", EVERYBODY) for name in who)
    if not names or not who:
        raise ValueError(f'entry {number}: who may read it is a list of subjects, or "*" for everybody')
    return frozenset(who)


def _parse_list(value: str) -> Iterable[tuple[str, frozenset[str] | None]]:
    for number, entry in enumerate((part.strip() for part in value.split(",") if part.strip()), 1):
        place, equals, who = (part.strip() for part in entry.partition("="))
        if not equals:
            if "/" in place:
                raise ValueError(f"entry {number} does not say who may read it: write bucket/prefix/=subject")
            yield place, frozenset()
        elif "=" in who or '"' in entry or (EVERYBODY in who and who != EVERYBODY):
            raise ValueError(f'entry {number} has characters that need JSON: {{"bucket/prefix/": ["subject"]}}')
        else:
            names = [name.strip() for name in who.split("|")]
            yield place, None if who == EVERYBODY else _to_subjects(names, number)


def _to_rule(place: str, subjects: frozenset[str] | None, number: int) -> SourceRule:
    bucket, _, prefix = place.partition("/")
    folder = prefix.rstrip("/")
    if BUCKET_NAME.fullmatch(bucket) is None:
        raise ValueError(f"entry {number} does not begin with the name of a bucket")
    if prefix.endswith("//") or has_odd_parts(folder) or not folder.isprintable():
        raise ValueError(f"entry {number} has a prefix with empty parts, '.', '..' or control characters")
    if len(folder.encode(errors="surrogatepass")) > 700:
        raise ValueError(f"entry {number} has a prefix of more than 700 bytes")
    return SourceRule(bucket, f"{folder}/" if folder else "", subjects)
