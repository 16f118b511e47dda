"""Request and response models of experiments."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.json_values import storable_text, walk_json
from service.routers.catalog.access import StorableText, Timestamp
from service.routers.http.pagination import PageQuery
from service.store.catalog.experiments import SortOrder

Visibility = Literal["private", "shared", "public"]
MAX_METADATA_BYTES = 64 * 1024
# Levels of nesting; pydantic cannot tell what has some 250, and one such row would break every list it is in.
MAX_METADATA_DEPTH = 32
EXAMPLE_EXPERIMENT: dict[str, Any] = {
    "name": "2026-03-zebrafish",
    "description": "Time lapse of a developing embryo",
    "metadata": {"microscope": "A1R", "temperature_c": 28.5},
    "visibility": "shared",
    "shared_with": ["imaging-lab"],
}


def _storable_metadata(value: dict[str, Any]) -> dict[str, Any]:
    """What PostgreSQL's jsonb keeps: no NaN, no NUL, no lone surrogates, and not a data set in disguise."""
    try:
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError("must be plain JSON: no NaN, no broken Unicode, no endless nesting") from error
    if len(encoded) > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES} bytes of JSON")
    for depth, part in walk_json(value):
        if depth >= MAX_METADATA_DEPTH:
            raise ValueError(f"must be nested at most {MAX_METADATA_DEPTH} levels deep")
        if isinstance(part, str):
            storable_text(part)
    return value


def _default_visibility() -> Visibility:
    """A default that the schema of a change does not show: a field left out stays as it is."""
    return "private"


ExperimentName = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"\S"), StorableText
]
Description = Annotated[str, StringConstraints(max_length=10_000), StorableText]
Metadata = Annotated[dict[str, Any], AfterValidator(_storable_metadata)]
Subjects = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=255), StorableText]], Field(max_length=200)
]


class ExperimentQuery(PageQuery):
    """Which experiments, in which order, how many."""

    sort: SortOrder = Field("-created_at", description="`-` is descending")
    q: Annotated[str, StringConstraints(max_length=200), StorableText] | None = Field(
        None, description="part of the name or description", examples=["zebrafish"]
    )
    mine: bool = Field(False, description="only those the caller owns")
    created_after: Timestamp | None = Field(None, description="not included", examples=["2026-01-01T00:00:00Z"])
    created_before: Timestamp | None = Field(None, description="not included")


class NewExperiment(BaseModel):
    """An experiment to be made; the caller will own it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE_EXPERIMENT]})
    name: ExperimentName = Field(description="unique among the owner's experiments")
    description: Description = Field("", description="for people")
    metadata: Metadata = Field(default_factory=dict, description="any JSON object, up to 64 KiB")
    visibility: Visibility = Field("private", description="its owner, those it is shared with, or everyone may see it")
    shared_with: Subjects = Field(default_factory=list, description="subjects who may see it while it is `shared`")


class ExperimentChange(BaseModel):
    """The fields to change; those left out stay as they are. `metadata` and `shared_with` are replaced as a whole."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"visibility": "public"}], "minProperties": 1}
    )
    name: ExperimentName = Field(default_factory=str, description="unique among the owner's experiments")
    description: Description = Field(default_factory=str, description="for people")
    metadata: Metadata = Field(default_factory=dict, description="any JSON object, up to 64 KiB")
    visibility: Visibility = Field(default_factory=_default_visibility, description="who may see it")
    shared_with: Subjects = Field(default_factory=list, description="subjects who may see it while it is `shared`")

    @model_validator(mode="after")
    def _require_a_change(self) -> "ExperimentChange":
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class Experiment(BaseModel):
    """A sequence of work with its frames; everything under it inherits its visibility."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11",
                    **EXAMPLE_EXPERIMENT,
                    "owner": "camera-lab",
                    "created_at": "2026-03-01T10:00:00Z",
                    "updated_at": "2026-03-01T10:00:00Z",
                }
            ]
        }
    )
    id: UUID
    name: str
    description: str
    metadata: dict[str, Any]
    owner: str
    visibility: Visibility
    shared_with: list[str] = Field(description="told to the owner and to admins only, otherwise empty")
    created_at: datetime
    updated_at: datetime
