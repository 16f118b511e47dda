"""Values in the words of a command: JSON, or else text."""

import json
from typing import Any

import typer

NOT_FINITE = "a finite number of ordinary length is needed"


def parse_value(name: str, text: str, hint: str) -> Any:
    """The JSON value, or the text if it is none. Raises typer.BadParameter, of `hint`, for what JSON does not have."""
    text.encode()  # raises UnicodeEncodeError
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError) as error:  # NaN, Infinity, 1e999, thousands of digits or of brackets
        raise typer.BadParameter(f"{name}: {NOT_FINITE}", param_hint=hint) from error
    return value
