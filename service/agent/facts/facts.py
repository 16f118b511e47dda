"""The facts of one question, and the data that a model is given of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FoundName:
    """An experiment or dataset that the caller may see. `experiment` is the name of a dataset's experiment. `is_exact`:
    the question has it letter for letter, but for upper and lower case and what is between words."""

    kind: Literal["experiment", "dataset"]
    name: str
    id: str
    experiment: str | None = None
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What `words` of the question mean: from `start` on, before `end`. None: without a bound on that side."""

    words: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Amount:
    """What `words` of the question mean in the unit in which columns are kept."""

    words: str
    value: int
    unit: Literal["bytes", "seconds", "pixels of width", "pixels of height"]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found, and `numbers`, the integers that the question has in digits."""

    names: tuple[FoundName, ...] = ()
    times: tuple[TimeRange, ...] = ()
    amounts: tuple[Amount, ...] = ()
    numbers: tuple[int, ...] = ()

    def only_exact_name(self) -> FoundName | None:
        """The one that the question has, or the dataset beside its experiment."""
        exact = [found for found in self.names if found.is_exact]
        datasets = [found for found in exact if found.kind == "dataset"]
        owners = {found.experiment for found in datasets}
        if len(datasets) == 1 and all(found.name in owners for found in exact if found.kind == "experiment"):
            return datasets[0]
        return exact[0] if len(exact) == 1 else None

    def only_resembling_name(self) -> FoundName | None:
        """The one that words of the question resemble, if it has none letter for letter. An experiment counts, and not
        its datasets of much the same name."""
        experiments = [found for found in self.names if found.kind == "experiment"]
        found = experiments or list(self.names)
        return found[0] if len(found) == 1 and not any(each.is_exact for each in self.names) else None

    def moments(self) -> tuple[str, ...]:
        """The bounds of all times, as the columns are compared with them."""
        bounds = (bound for found in self.times for bound in (found.start, found.end) if bound is not None)
        return tuple(dict.fromkeys(map(format_moment, bounds)))

    def integers(self) -> tuple[int, ...]:
        """The numbers of the question, what its amounts are in the unit of columns, and the smallest ones."""
        if not self.numbers and not self.amounts:
            return ()
        return tuple(dict.fromkeys((*self.numbers, *(amount.value for amount in self.amounts), 0, 1)))

    def as_data(self) -> dict[str, Any]:
        """For a prompt: only what was found."""
        names = [
            {found.kind: found.name} | ({"experiment": found.experiment} if found.experiment else {})
            for found in self.names
        ]
        times = [
            {"words": found.words}
            | ({"ge": format_moment(found.start)} if found.start else {})
            | ({"lt": format_moment(found.end)} if found.end else {})
            for found in self.times
        ]
        amounts = [{"words": found.words, found.unit: found.value} for found in self.amounts]
        found = {"names_that_exist": names, "times": times, "amounts": amounts}
        return {key: value for key, value in found.items() if value}


def format_moment(moment: datetime) -> str:
    """In UTC, to the second, as 2026-03-01T10:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
