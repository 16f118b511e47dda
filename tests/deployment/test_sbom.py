"""The bills of materials: they are what the lock files say, and what CycloneDX allows."""

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing

from tests.deployment.files import dockerfile
from tests.deployment.lock_file import LOCKS, OURSELVES, read_lock
from tests.deployment.sbom import IMAGES, render_sbom, sbom_path

pytestmark = pytest.mark.parametrize("image", IMAGES)


def bill(image: str) -> dict[str, Any]:
    return dict(json.loads(sbom_path(image).read_text()))


def all_components(image: str) -> list[dict[str, Any]]:
    outer = bill(image)["components"]
    return [*outer, *(inner for component in outer for inner in component.get("components", []))]


def test_it_is_made_from_the_lock(image: str) -> None:
    assert sbom_path(image).read_text() == render_sbom(LOCKS[image]), "run `make sbom`"


def test_it_is_valid(image: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(sbom_path(image).read_text()) is None
    assert validator.validate_str(json.dumps(bill(image) | {"components": [{"name": "x"}]})) is not None


def test_each_distribution_has_hashes_a_licence_and_a_purl(image: str) -> None:
    listed = {component["purl"]: component for component in bill(image)["components"]}
    for entry in read_lock(LOCKS[image].path):
        component = listed.pop(f"pkg:pypi/{entry.name}@{entry.version}")
        (files,) = component["externalReferences"]
        assert tuple(digest["content"] for digest in files["hashes"]) == entry.hashes
    assert listed == {}


def test_licences_are_spdx_expressions(image: str) -> None:
    licensing = get_spdx_licensing()
    expressions = {component["licenses"][0]["expression"] for component in all_components(image)}
    unknown = {name for each in expressions for name in licensing.validate(each).invalid_symbols}
    assert len(expressions) > 20
    assert {name for name in unknown if not name.startswith("LicenseRef-")} == set()


def test_dependencies_lead_to_everything(image: str) -> None:
    edges = {each["ref"]: each["dependsOn"] for each in bill(image)["dependencies"]}
    reached, waiting = set(), [OURSELVES]
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            waiting += edges[reference]
    assert reached == {OURSELVES, *(component["bom-ref"] for component in bill(image)["components"])}


def test_what_is_inside_ffmpeg_is_listed(image: str) -> None:
    (av,) = [component for component in bill(image)["components"] if component["name"] == "av"]
    inside = {component["name"]: component["licenses"][0]["expression"] for component in av["components"]}
    assert inside["x264"] == inside["x265"] == "GPL-2.0-or-later"


def test_the_image_has_it(image: str) -> None:
    (copy,) = [step["value"] for step in dockerfile(f"Dockerfile.{image}").structure if "sbom" in step["value"]]
    assert copy == f"--from=build /src/deploy/{sbom_path(image).name} /usr/share/doc/reelmill/sbom.cdx.json"
