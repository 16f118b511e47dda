"""Request and response models of experiments."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.json_values import storable_text, walk_json
from service.routers.http.fields import EXAMPLE_EXPERIMENT_ID, RequestModel, StorableText, Timestamp, at_most
from service.routers.http.pagination import PageQuery
from service.store.catalog.experiments import SortOrder

Visibility = Literal["private", "shared", "public"]
MAX_METADATA_BYTES = 64 * 1024
# Levels of nesting. pydantic cannot serialize about 250 levels, and one such row would break every list.
MAX_METADATA_DEPTH = 32
MAX_SUBJECTS = 200
EXAMPLE_EXPERIMENT: dict[str, Any] = {
    "name": "2026-03-zebrafish",
    "description": "Time lapse of a developing embryo",
    "metadata": {"microscope": "A1R", "temperature_c": 28.5},
    "visibility": "shared",
    "shared_with": ["imaging-lab"],
}


def _storable_metadata(value: dict[str, Any]) -> dict[str, Any]:
    """Check that jsonb can store the value and that it is small. Raises ValueError."""
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


ExperimentName = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"\S"), StorableText
]
Description = Annotated[str, StringConstraints(max_length=10_000), StorableText]
Metadata = Annotated[dict[str, Any], AfterValidator(_storable_metadata)]
Subjects = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=255), StorableText]],
    Field(max_length=MAX_SUBJECTS),
    at_most(MAX_SUBJECTS),
]


class ExperimentQuery(PageQuery):
    """Filters, order and page of the list of experiments."""

    sort: SortOrder = Field("-created_at", description="prefix `-`: descending")
    q: Annotated[str, StringConstraints(max_length=200), StorableText] | None = Field(
        None, description="only experiments whose name or description contains this text", examples=["zebrafish"]
    )
    mine: bool = Field(False, description="only experiments that the caller owns")
    created_after: Timestamp | None = Field(
        None, description="created later than this", examples=["2026-01-01T00:00:00Z"]
    )
    created_before: Timestamp | None = Field(None, description="created earlier than this")


class NewExperiment(RequestModel):
    """An experiment to create. The caller becomes its owner."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_EXPERIMENT]})
    name: ExperimentName = Field(description="unique among the experiments of the owner")
    description: Description = Field("", description="free text")
    metadata: Metadata = Field(default_factory=dict, description="any JSON object, up to 64 KiB")
    visibility: Visibility = Field("private", description="who may see it: the owner, also `shared_with`, or everyone")
    shared_with: Subjects = Field(
        default_factory=list, description="subjects who may see it if `visibility` is `shared`"
    )


class ExperimentChange(RequestModel):
    """The fields to change. Fields left out keep their values; `metadata` and `shared_with` are replaced entirely."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"visibility": "public"}], "minProperties": 1})
    # Default factories, because the schema would show default values, which do not apply.
    name: ExperimentName = Field(default_factory=str, description="unique among the experiments of the owner")
    description: Description = Field(default_factory=str, description="free text")
    metadata: Metadata = Field(default_factory=dict, description="any JSON object, up to 64 KiB")
    visibility: Visibility = Field(default_factory=lambda: "private", description="who may see it")
    shared_with: Subjects = Field(
        default_factory=list, description="subjects who may see it if `visibility` is `shared`"
    )

    @model_validator(mode="after")
    def _require_a_change(self) -> "ExperimentChange":
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class Experiment(BaseModel):
    """A group of datasets. Its datasets, frames and renders inherit its visibility."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_EXPERIMENT_ID,
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
    shared_with: list[str] = Field(description="empty for callers other than the owner and admins")
    created_at: datetime
    updated_at: datetime
