"""The tables of commands and exit codes in docs/commands.md, made from the command line's own help."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from service.cli.main import app

# What `reelmill --help` prints is this object's.
group: Any = typer.main.get_command(app)


def command_table() -> str:
    rows = [
        f"| `reelmill {_command_usage(name, command)}` | {_command_summary(command)} |\n"
        for name, command in _commands(group)
    ]
    return "| command | what it does |\n| --- | --- |\n" + "".join(rows)


def _commands(parent: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each command, and after a group its own commands."""
    for name, command in parent.commands.items():
        yield f"{prefix}{name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")


def exit_codes() -> dict[int, str]:
    """From the epilog of the help: "Exit codes: 0 done, 1 failed, …"."""
    return {int(code): meaning for code, meaning in re.findall(r"(\d+) ([^,.]+)", group.epilog)}


def exit_code_table() -> str:
    rows = [f"| {code} | {meaning} |\n" for code, meaning in exit_codes().items()]
    return "| exit code | meaning |\n| --- | --- |\n" + "".join(rows)


def _command_usage(name: str, command: Any) -> str:
    """The name, its arguments, and its options: in brackets those that may be left out."""
    return " ".join([name, *(_parameter(parameter) for parameter in command.params if parameter.name != "help")])


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = str(parameter.metavar or parameter.name).upper().removesuffix("...")
        name = f"{name} …" if parameter.nargs == -1 else name
        return name if parameter.required else f"[{name}]"
    text = max(parameter.opts, key=len) + ("" if parameter.is_flag else f" {str(parameter.name).upper()}")
    return text if parameter.required else f"[{text}]"


def _command_summary(command: Any) -> str:
    return str(command.help).splitlines()[0].strip().replace("|", "\\|")
