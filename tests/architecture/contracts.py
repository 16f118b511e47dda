""".importlinter, read."""

from configparser import ConfigParser, SectionProxy

from tests.support.source_code import ROOT


def read_contracts() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def contract(name: str) -> SectionProxy:
    return read_contracts()[f"importlinter:contract:{name}"]


def listed_modules(name: str) -> set[str]:
    """The modules that a layers contract places."""
    return {word for word in contract(name)["layers"].replace("|", " ").split() if word != ":"}
