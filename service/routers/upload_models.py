"""What the routes of signed uploads take and give."""

import mimetypes
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.routers.dataset_models import safe_path

MAX_FILES = 1000
MAX_EXPIRY_S = 24 * 3600


class WantedUpload(BaseModel):
    """A file that will be sent."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, StringConstraints(min_length=1), AfterValidator(safe_path)] = Field(
        description="may have folders in it; one that is there already is replaced", examples=["frame_00000.jpg"]
    )
    size: int = Field(ge=0, description="in bytes, exactly", examples=[210_000])
    content_type: Annotated[str, StringConstraints(pattern=r"^[\w.+-]{1,60}/[\w.+-]{1,60}$")] | None = Field(
        None, description="unset: by the name", examples=["image/jpeg"]
    )

    @property
    def media_type(self) -> str:
        return self.content_type or mimetypes.guess_type(self.name)[0] or "application/octet-stream"


def _require_unique_names(files: list[WantedUpload]) -> list[WantedUpload]:
    if len({wanted.name for wanted in files}) < len(files):
        raise ValueError("each name once")
    return files


class NewUploads(BaseModel):
    """The files to get addresses for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"files": [{"name": "frame_00000.jpg", "size": 210_000}]}]}
    )
    files: Annotated[list[WantedUpload], AfterValidator(_require_unique_names)] = Field(
        min_length=1, max_length=MAX_FILES
    )
    expires_in: int = Field(3600, ge=60, le=MAX_EXPIRY_S, description="seconds the addresses are good for")


class UploadAddress(BaseModel):
    """Where to `PUT` one file, and with which headers."""

    name: str
    size: int = Field(description="the body must have exactly this many bytes")
    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str] = Field(description="to be sent as they are")


class Uploads(BaseModel):
    """One address for each file, in the order they were named."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "uploads": [
                        {
                            "name": "frame_00000.jpg",
                            "size": 210_000,
                            "method": "PUT",
                            "url": "https://files.example/reelmill/frames/…/frame_00000.jpg?X-Amz-Signature=…",
                            "headers": {"Content-Type": "image/jpeg"},
                        }
                    ],
                    "expires_at": "2026-03-01T11:00:00Z",
                }
            ]
        }
    )
    uploads: list[UploadAddress]
    expires_at: datetime
