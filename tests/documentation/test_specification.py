"""Every scenario of the specification has a test, and docs/specification.md is current."""

from tests.documentation.specification import PAGE, render_page, requirements, scenario_tests


def test_every_scenario_has_its_test() -> None:
    scenarios = [name for names in requirements().values() for name in names]
    assert len(scenarios) == 20
    assert set(scenario_tests()) == set(scenarios)
    for name, (_, function) in scenario_tests().items():
        words = "".join(char if char.isalnum() else "_" for char in name.lower())
        assert function == f"test_{words}", f"the test of {name} is named after it"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == render_page(), "run python -m tests.documentation.specification"
