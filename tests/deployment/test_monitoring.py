"""The alert rules and the dashboard: promtool accepts them, each rule fires on its fault alone, and every figure exists."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import service.worker.devices.metrics  # noqa: F401 (its figures are registered on import)
from service.telemetry.metrics import REGISTRY, WORKER_REGISTRY
from tests.support.source_code import ROOT

RULES, TESTS = ROOT / "deploy/prometheus/alerts.yml", ROOT / "deploy/prometheus/alerts_test.yml"
DASHBOARD, PAGE = ROOT / "deploy/grafana/reelmill.json", ROOT / "docs/alerts.md"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
SELECTOR = re.compile(r"(?P<name>\breelmill_\w+)(?:\{(?P<labels>[^}]*)\})?")
GROUPING = re.compile(r"\bby \((?P<labels>[\w, ]*)\)")
LABEL = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
# Prometheus adds them; `worker` is added by /metrics, and `le` belongs to histograms.
ADDED_LABELS = {"instance", "job", "worker", "le"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, cwd=RULES.parent)


@needs_promtool
def test_the_rules_are_valid() -> None:
    done = promtool("check", "rules", RULES.name)
    assert done.returncode == 0 and f"{len(alerts())} rules found" in done.stdout, done.stdout + done.stderr


@needs_promtool
def test_each_fires_on_its_fault_and_none_on_a_good_day() -> None:
    done = promtool("test", "rules", TESTS.name)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_a_rule_that_never_fires_is_noticed(rule: dict[str, Any], tmp_path: Any) -> None:
    (tmp_path / RULES.name).write_text(RULES.read_text().replace(f"alert: {rule['alert']}\n", "alert: Another\n"))
    shutil.copy(TESTS, tmp_path)
    done = subprocess.run(["promtool", "test", "rules", TESTS.name], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and rule["alert"] in done.stdout + done.stderr


def test_each_has_a_fault_a_good_day_and_a_page() -> None:
    *faults, good = yaml.safe_load(TESTS.read_text())["tests"]
    names = [rule["alert"] for rule in alerts()]
    assert [fault["name"] for fault in faults] == names
    assert all(fault["alert_rule_test"][0]["exp_alerts"] for fault in faults)
    assert {each["alertname"] for each in good["alert_rule_test"]} == set(names)
    assert not any("exp_alerts" in each for each in good["alert_rule_test"])
    assert re.findall(r"^## (Reelmill\w+)$", PAGE.read_text(), re.MULTILINE) == names
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"


def expressions() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def known_figures() -> dict[str, set[str]]:
    """The labels of each figure that /metrics can have, by the names of its samples."""
    found: dict[str, set[str]] = {}
    for registry in (REGISTRY, WORKER_REGISTRY):
        for collector, names in registry._collector_to_names.items():
            found |= {name: set(getattr(collector, "_labelnames", ())) for name in names}
    return found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_figure_and_label_exists(where: str, expression: str) -> None:
    known, labels = known_figures(), set[str]()
    named = list(SELECTOR.finditer(expression))
    assert named or expression == 'up{job="reelmill"} == 0', where
    for selector in named:
        assert selector["name"] in known, f"{where}: there is no figure {selector['name']}"
        labels |= known[selector["name"]]
        for label in LABEL.findall(selector["labels"] or ""):
            assert label in known[selector["name"]] | ADDED_LABELS, f"{where}: {selector['name']} has no label {label}"
    for grouping in GROUPING.finditer(expression):
        wanted = set(filter(None, map(str.strip, grouping["labels"].split(","))))
        assert wanted <= labels | ADDED_LABELS, f"{where}: grouped by {wanted - labels}"


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells and place["x"] + place["w"] <= 24
        cells |= own
