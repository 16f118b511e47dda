""".importlinter, read."""

from configparser import ConfigParser, SectionProxy

from tests.support.source_code import ROOT


def contracts() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def contract(name: str) -> SectionProxy:
    return contracts()[f"importlinter:contract:{name}"]


def listed(name: str) -> set[str]:
    """The modules that a layers contract places."""
    return {word for word in contract(name)["layers"].replace("|", " ").split() if word != ":"}
