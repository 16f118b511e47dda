"""Which scenario of the specification a test holds."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=Callable[..., object])
# Scenario -> (module, function) of its test.
SCENARIO_TESTS: dict[str, tuple[str, str]] = {}


def scenario(name: str) -> Callable[[T], T]:
    """Marks the one test of a scenario."""

    def mark(test: T) -> T:
        assert name not in SCENARIO_TESTS or SCENARIO_TESTS[name] == (test.__module__, test.__name__), (
            f"two tests for {name}"
        )
        SCENARIO_TESTS[name] = (test.__module__, test.__name__)
        return test

    return mark
