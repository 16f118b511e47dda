"""Draw JSON values that match a schema: of the keywords that the agent's schemas use."""

from typing import Any

from hypothesis import strategies as st


def matching(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values that match; raises KeyError for a keyword that is not known here."""
    definitions = schema.get("$defs", definitions or {})

    def draw(part: dict[str, Any]) -> st.SearchStrategy[Any]:
        return matching(part, definitions)

    match schema:
        case {"$ref": str(path)}:
            return st.deferred(lambda: draw(definitions[path.rpartition("/")[2]]))
        case {"anyOf": options}:
            return st.one_of(*map(draw, options))
        case {"const": value}:
            return st.just(value)
        case {"enum": values}:
            return st.sampled_from(values)
        case {"type": "string", "pattern": pattern}:
            return st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True)
        case {"type": "integer", "minimum": least, "maximum": most}:
            return st.integers(least, most)
        case {"type": "number"}:
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "array", "items": items, "minItems": least, "maxItems": most}:
            return st.lists(draw(items), min_size=least, max_size=most)
        case {"type": "object", "properties": properties, "required": required}:
            assert sorted(required) == sorted(properties) and schema["additionalProperties"] is False
            return st.fixed_dictionaries({name: draw(part) for name, part in properties.items()})
    raise KeyError(schema)
