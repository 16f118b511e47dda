"""Request and response models of presets."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.routers.catalog.experiment_models import Description, ExperimentName, Subjects, Visibility
from service.routers.http.fields import RequestModel, StorableText
from service.routers.http.pagination import PageQuery
from service.routers.videos.request_models import PresetOptions
from service.store.catalog.presets import SortOrder

EXAMPLE_OPTIONS: dict[str, Any] = {"decimation_factor": 4, "fps": 30, "codec": "av1", "quality": 80}
EXAMPLE_PRESET: dict[str, Any] = {
    "name": "daily overview",
    "description": "Small and quick to look through",
    "options": EXAMPLE_OPTIONS,
    "visibility": "shared",
    "shared_with": ["imaging-lab"],
}


class PresetQuery(PageQuery):
    """Filters, order and page of the list of presets."""

    sort: SortOrder = Field("-created_at", description="prefix `-`: descending")
    q: Annotated[str, StringConstraints(max_length=200), StorableText] | None = Field(
        None, description="only presets whose name or description contains this text", examples=["overview"]
    )
    mine: bool = Field(False, description="only presets that the caller owns")


class NewPreset(RequestModel):
    """A preset to create. The caller becomes its owner."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PRESET]})
    name: ExperimentName = Field(description="unique among the presets of the owner")
    description: Description = Field("", description="free text")
    options: PresetOptions = Field(description="options of a render; those that are left out are not in the preset")
    visibility: Visibility = Field("private", description="who may see it: the owner, also `shared_with`, or everyone")
    shared_with: Subjects = Field(
        default_factory=list, description="subjects who may see it if `visibility` is `shared`"
    )


class PresetChange(RequestModel):
    """The fields to change. Fields left out keep their values; `options` and `shared_with` are replaced entirely."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"options": EXAMPLE_OPTIONS}], "minProperties": 1})
    # Default factories, because the schema would show default values, which do not apply.
    name: ExperimentName = Field(default_factory=str, description="unique among the presets of the owner")
    description: Description = Field(default_factory=str, description="free text")
    options: PresetOptions = Field(
        default_factory=PresetOptions.model_construct,
        description="all options that the preset then has; earlier renders stay",
    )
    visibility: Visibility = Field(default_factory=lambda: "private", description="who may see it")
    shared_with: Subjects = Field(
        default_factory=list, description="subjects who may see it if `visibility` is `shared`"
    )

    @model_validator(mode="after")
    def _require_a_change(self) -> "PresetChange":
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class Preset(BaseModel):
    """A named set of options of a render."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0197a3c2-c1a0-7d52-9b3e-5f7a2b9c6d33",
                    **EXAMPLE_PRESET,
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
    options: dict[str, Any] = Field(description="those that were set, as in the body of POST /api/videos/generate")
    owner: str
    visibility: Visibility
    shared_with: list[str] = Field(description="empty for callers other than the owner and admins")
    created_at: datetime
    updated_at: datetime
