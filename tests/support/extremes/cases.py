"""Requests to every operation of an OpenAPI document, each with one value at an extreme."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from tests.support.extremes.values import (
    BODIES,
    HEADER_VALUES,
    HEADERS,
    JSON_VALUES,
    NUMBERS,
    TEXTS,
    TIMES,
    URL_TEXTS,
)

METHODS = ("get", "put", "post", "delete", "patch")
PLACEHOLDER = "@value@"
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """One request. `place` says which of its values is at an extreme, `value` which value that is."""

    operation: str
    place: str
    value: str
    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def __str__(self) -> str:
        shown = self.value if len(self.value) < 80 else f"{self.value[:60]}… ({len(self.value)})"
        return f"{self.operation} {self.place} = {shown!a}"


@dataclass(frozen=True)
class Known:
    """Values that lead further than a refusal: of parameters by name or by operation and name, and bodies and headers by
    operation (PLACEHOLDERs mark where further values go); `replaced` are texts of the document's examples and what stands
    for them here."""

    parameters: Mapping[str, str]
    bodies: Mapping[str, Sequence[Any]]
    replaced: Mapping[str, str]
    headers: Mapping[str, tuple[tuple[bytes, bytes], ...]]


def make_cases(document: Any, known: Known) -> Iterator[Case]:
    """All cases, operation by operation and place by place."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield from _Operation(document, known, path, method, item[method]).cases()


class _Operation:
    """Makes the cases of one operation."""

    def __init__(self, document: Any, known: Known, path: str, method: str, operation: Any) -> None:
        self.document, self.known, self.path, self.operation = document, known, path, operation
        self.parameters = operation.get("parameters", [])
        self.plain = Case(
            operation["operationId"],
            "nothing",
            "",
            method.upper(),
            self._fill_path({}),
            "&".join(
                f"{parameter['name']}={value}"
                for parameter in self.parameters
                if parameter.get("required")
                and parameter["in"] == "query"
                and (value := self._known_parameter(parameter["name"]))
            ),
            headers=known.headers.get(operation["operationId"], ()),
        )
        self.bodies = [self._example(), *known.bodies.get(self.plain.operation, ())]
        if "requestBody" in operation and self.bodies[0] is not None:
            self.plain = self._with_body(self.plain, json.dumps(self.bodies[0]).encode())

    def cases(self) -> Iterator[Case]:
        yield self.plain
        yield from self._url_cases()
        yield from self._header_cases()
        if "requestBody" in self.operation:
            yield from self._body_cases()

    def _fill_path(self, values: Mapping[str, str]) -> str:
        path = self.path
        for parameter in self.parameters:
            if parameter["in"] == "path":
                name = parameter["name"]
                path = path.replace(f"{{{name}}}", values.get(name) or self._known_parameter(name) or "1")
        return path

    def _known_parameter(self, name: str) -> str | None:
        known = self.known.parameters
        return known.get(f"{self.operation['operationId']} {name}", known.get(name))

    def _url_cases(self) -> Iterator[Case]:
        texts = [*(quote(text, safe="") for text in (*TEXTS, *TIMES, *NUMBERS)), *URL_TEXTS]
        for parameter in self.parameters:
            name, place = parameter["name"], f"{parameter['in']} {parameter['name']}"
            for text in texts if parameter["in"] in ("path", "query") else ():
                case = replace(self.plain, place=place, value=text)
                if parameter["in"] == "path":
                    yield replace(case, path=self._fill_path({name: text}))
                else:
                    yield replace(case, query=f"{name}={text}")
        for query in ("&".join(f"a{number}=1" for number in range(1500)), "limit=1&" * 1000, "&" * 9000, "%00=%00"):
            yield replace(self.plain, place="query", value=query, query=query)

    def _header_cases(self) -> Iterator[Case]:
        named = {p["name"].lower().encode() for p in self.parameters if p["in"] == "header"}
        for header in dict.fromkeys((*HEADERS, *named)):
            for value in HEADER_VALUES:
                if self.plain.method == "DELETE" and header == b"if-match":
                    continue
                kept = tuple(pair for pair in self.plain.headers if pair[0] != header)
                headers = (*kept, (header, value))
                yield replace(
                    self.plain, place=f"header {header.decode()}", value=value.decode("latin-1"), headers=headers
                )

    def _body_cases(self) -> Iterator[Case]:
        for media, body in BODIES:
            case = replace(self.plain, place="body", value=f"{media!r} {body[:60]!r} {len(body)}", body=body)
            yield replace(case, headers=(*self._other_headers(), (b"content-type", media)))
        for place in self._places():
            for value in JSON_VALUES:
                body = _put(self.bodies[0], place, PLACEHOLDER)
                case = replace(self.plain, place="/".join(map(str, place)), value=value)
                yield self._with_body(case, json.dumps(body).replace(json.dumps(PLACEHOLDER), value).encode())
        for number, template in enumerate(self.bodies[1:]):
            for value in JSON_VALUES:
                case = replace(self.plain, place=f"template {number} {json.dumps(template)[:150]}", value=value)
                yield self._with_body(case, json.dumps(template).replace(json.dumps(PLACEHOLDER), value).encode())

    def _other_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return tuple(pair for pair in self.plain.headers if pair[0] != b"content-type")

    def _with_body(self, case: Case, body: bytes) -> Case:
        return replace(case, body=body, headers=(*self._other_headers(), (b"content-type", b"application/json")))

    def _example(self) -> Any:
        media = self.operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        examples = [media.get("example"), *(item.get("value") for item in media.get("examples", {}).values())]
        text = json.dumps(next((example for example in examples if example is not None), None))
        for old, new in self.known.replaced.items():
            text = text.replace(old, new)
        return json.loads(text)

    def _places(self) -> list[Place]:
        media = self.operation["requestBody"]["content"].get("application/json", {})
        return list(dict.fromkeys(self._walk(media.get("schema", {}), (), set())))

    def _walk(self, schema: Any, place: Place, seen: set[str]) -> Iterator[Place]:
        """Every member that the schema knows, of all alternatives; each named schema once, where it comes first."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name in seen:
                return
            schema = self.document["components"]["schemas"][name]
            seen.add(name)
        if place:
            yield place
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
            yield from self._walk(part, place, seen)
        for name, part in schema.get("properties", {}).items():
            yield from self._walk(part, (*place, name), seen)
        if isinstance(schema.get("items"), dict):
            yield from self._walk(schema["items"], (*place, 0), seen)
        if isinstance(schema.get("additionalProperties"), dict):
            yield from self._walk(schema["additionalProperties"], (*place, "key"), seen)


def _put(value: Any, place: Place, new: Any) -> Any:
    """A copy of `value` with `new` at `place`; what is missing on the way is made."""
    if not place:
        return new
    step, *rest = place
    if isinstance(step, int):
        items = list(value) if isinstance(value, list) else []
        return [_put(items[0] if items else None, tuple(rest), new), *items[1:]]
    members = dict(value) if isinstance(value, dict) else {}
    return members | {step: _put(members.get(step), tuple(rest), new)}
