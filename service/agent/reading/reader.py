"""Make a query of a question if every word of it is understood; else a model has to read it."""

import re
from dataclasses import dataclass, field
from typing import Any

from service.agent.facts.facts import Amount, Facts, FoundName, format_moment
from service.agent.facts.subjects import TABLE_WORDS, asks_for_video
from service.agent.facts.vocabulary import to_english_times
from service.agent.reading import words
from service.guard.document import Document
from service.guard.schema import TableDescription, Tables
from service.ids import Subject

SEVERAL, MAX_CHARACTERS = 10, 300
_AMOUNT = rf"(?:(?P<above>{words.ABOVE})|(?P<below>{words.BELOW}))? ?"


def read_question(question: str, tables: Tables, facts: Facts, subject: Subject) -> Document | None:
    """The query of the one table for which all words have a meaning; None if there is none, or more than one."""
    if len(question) > MAX_CHARACTERS or asks_for_video(question):
        return None
    readings = (_Reading(question, table, facts, subject) for table in tables.values())
    found = [document for reading in readings if (document := reading.read()) is not None]
    return found[0] if len(found) == 1 else None


@dataclass(slots=True)
class _Reading:
    """What was understood of a question about one table, and the text that is left."""

    question: str
    table: TableDescription
    facts: Facts
    subject: Subject
    text: str = ""
    filters: list[dict[str, Any]] = field(default_factory=list)
    order: str | None = None
    limit: int | None = None
    is_plural: bool = False

    def read(self) -> Document | None:
        self.text = " ".join(to_english_times(self.question).casefold().split())
        if not self._take_names() or not self._take_times() or not self._take_amounts():
            return None
        self._take_comparisons()
        counted = self._take(words.COUNT) is not None
        group = self._take_group()
        self._take_meanings()
        self._take_order()
        self._take_owner()
        noun = self._take(TABLE_WORDS[self.table.name])
        if noun is None or not self._is_understood() or (group and not counted):
            return None
        self.is_plural = noun[0].endswith(("s", "e", "en"))
        return Document.model_validate(
            {"table": self.table.name, "filters": self.filters} | self._shape(counted, group)
        )

    def _shape(self, counted: bool, group: str | None) -> dict[str, Any]:
        if counted:
            return {"aggregates": [{"function": "count"}]} | ({"group_by": [group]} if group else {})
        if self.order is None:
            return {}
        return {"order_by": [self.order], "limit": self.limit or (SEVERAL if self.is_plural else 1)}

    def _take(self, expression: str) -> "re.Match[str] | None":
        """The first match, which is then no longer in the text."""
        match = words.whole_words(expression).search(self.text)
        if match:
            self.text = f"{self.text[: match.start()]} {self.text[match.end() :]}"
        return match

    def _is_understood(self) -> bool:
        return all(word in words.FILLER for word in words.WORD.findall(self.text))

    def _require(self, column: str, op: str, value: Any) -> bool:
        """Add a condition; false if the table has no such column."""
        if column not in self.table.columns:
            return False
        self.filters.append({"column": column, "op": op, "value": value})
        return True

    def _take_names(self) -> bool:
        """The name that the question has letter for letter; false if it has several."""
        exact = [found for found in self.facts.names if found.is_exact]
        if not exact:
            return True
        name = r"[\W_]+".join(words.WORD.findall(exact[0].name.casefold()))
        if len(exact) > 1 or self._take(name) is None:
            return False
        return self._require(self._id_column(exact[0]), "eq", exact[0].id)

    def _id_column(self, found: FoundName) -> str:
        return "id" if self.table.name == f"{found.kind}s" else f"{found.kind}_id"

    def _take_times(self) -> bool:
        if len(self.facts.times) > 1:
            return False
        column = "captured_at" if "captured_at" in self.table.columns else "created_at"
        for found in self.facts.times:
            bounds = (("ge", found.start), ("lt", found.end))
            if self._take(re.escape(found.words.casefold())) is None:
                return False
            if not all(self._require(column, op, format_moment(bound)) for op, bound in bounds if bound is not None):
                return False
        return True

    def _take_amounts(self) -> bool:
        return all(self._take_amount(amount) for amount in self.facts.amounts)

    def _take_amount(self, amount: Amount) -> bool:
        """Sizes of pictures have two amounts of the same words: the first takes them."""
        match = self._take(rf"{_AMOUNT}{re.escape(amount.words.casefold())}")
        op = "eq" if match is None else _operator(match)
        match amount.unit:
            case "bytes" if match is not None:
                return op != "eq" and self._require(words.BYTES.get(self.table.name, ""), op, amount.value)
            case "pixels of width" if match is not None:
                is_width = op == "eq" or match[0].startswith(("wider", "narrower"))
                return is_width and self._require("width", op, amount.value)
            case "pixels of height":
                asks_width = any(each["column"] == "width" and each["op"] != "eq" for each in self.filters)
                return asks_width or self._require("height", "eq", amount.value)
            case _:
                return False

    def _take_comparisons(self) -> None:
        """Of a number that stands for frames, or follows the name of a column."""
        for noun, column in words.COUNTED.items():
            bound = rf"(?:(?P<above>{words.ABOVE})|(?P<below>{words.BELOW})) (?P<number>\d+) {noun}"
            if column in self.table.columns and (match := self._take(rf"(?:with )?{bound}")):
                self._require(column, _operator(match), int(match["number"]))
        for column in ("priority", "width", "height"):
            if column in self.table.columns:
                match = self._take(rf"(?:with |have |has )?(?:an? |the )?{column}(?: of)? {_AMOUNT}(?P<number>\d+)")
                if match:
                    self._require(column, _operator(match), int(match["number"]))

    def _take_group(self) -> str | None:
        for match in words.GROUPS.finditer(self.text):
            group = match["group"].removesuffix("s") if match["group"] != "status" else "status"
            column = f"{group}_name" if f"{group}_name" in self.table.columns else group
            if column in self.table.columns and (column in words.GROUP_COLUMNS or column.endswith("_name")):
                self.text = self.text.replace(match[0], " ", 1)
                return column
        return None

    def _take_meanings(self) -> None:
        opposite = {"eq": "ne"}
        for expression, meaning in words.MEANINGS[self.table.name]:
            if match := self._take(rf"(?P<not>{words.NOT} )?(?:{expression})"):
                op = opposite.get(meaning.op, meaning.op) if match["not"] else meaning.op
                self._require(meaning.column, op, meaning.value)

    def _take_order(self) -> None:
        for expression, order in reversed(words.ORDERS):
            if match := self._take(rf"(?:(?P<before>\d+) )?(?:{expression})(?: (?P<after>\d+))?"):
                number = match["before"] or match["after"]
                column = words.BYTES.get(self.table.name, "") if order.endswith("bytes") else order.removeprefix("-")
                if column in self.table.columns:
                    self.order = f"-{column}" if order.startswith("-") else column
                    self.limit = int(number) if number and int(number) else None
                return

    def _take_owner(self) -> None:
        if "owner" in self.table.columns and self._take(words.MINE):
            self._require("owner", "eq", self.subject)


def _operator(match: "re.Match[str]") -> str:
    return "gt" if match["above"] else "lt" if match["below"] else "eq"
