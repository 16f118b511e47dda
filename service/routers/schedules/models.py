"""Request and response models of schedules and their runs."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy import RowMapping

from service.routers.catalog.experiment_models import ExperimentName
from service.routers.http.fields import EXAMPLE_EXPERIMENT_ID, RequestModel
from service.routers.http.pagination import PageQuery
from service.routers.http.problems import FieldError
from service.routers.videos.models import EXAMPLE_JOB_ID
from service.routers.videos.request_models import VideoGenerationRequest
from service.schedules.timetable import check_cron, check_zone
from service.schedules.windows import check_window

EXAMPLE_SCHEDULE_ID = "0197a3c2-c4d8-7e1f-9b02-5a6d7e8f9012"
EXAMPLE_SCHEDULE: dict[str, Any] = {
    "name": "every morning",
    "request": {"experiment_id": EXAMPLE_EXPERIMENT_ID, "decimation_factor": 4, "fps": 30},
    "cron": "30 6 * * *",
    "zone": "Europe/Berlin",
    "window": "yesterday",
}
EXAMPLE_RUN: dict[str, Any] = {
    "id": "0197a3c2-d5e9-7a20-8c13-6b7e8f901234",
    "number": 12,
    "planned_at": "2026-03-01T05:30:00Z",
    "began_at": "2026-03-01T05:30:03Z",
    "manual": False,
    "missed": 0,
    "window": {"from": "2026-02-27T23:00:00Z", "to": "2026-02-28T23:00:00Z"},
    "state": "submitted",
    "job_id": EXAMPLE_JOB_ID,
    "joined": False,
    "attempts": 1,
    "retry_at": None,
    "problem": None,
}
Cron = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(check_cron)]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(check_zone)]
Window = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(check_window)]
CRON_MEANING = "five fields as in crontab(5): minute, hour, day of the month, month, day of the week"
ZONE_MEANING = "time zone of the cron line, and of the days of `yesterday`"
WINDOW_MEANING = (
    "capture times that a run shows, up to the time that it is planned for: `yesterday`, `since_last_run`, or "
    "`last N minutes`, `hours`, `days` or `weeks`; null: the `frames` of the request, or all"
)
RunState = Literal["waiting", "submitted", "refused"]


class ScheduleQuery(PageQuery):
    """Filters, order and page of the list of schedules."""

    sort: Literal["-created_at", "created_at", "name", "-name"] = Field(
        "-created_at", description="prefix `-`: descending"
    )
    experiment_id: UUID | None = Field(None, description="only schedules that render this experiment")
    mine: bool = Field(False, description="only schedules that the caller owns; without it, admins see all")


class NewSchedule(RequestModel):
    """A schedule to make. The caller becomes its owner, and its runs count as requests of the caller."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_SCHEDULE]})
    name: ExperimentName = Field(description="unique among the schedules of the owner")
    request: VideoGenerationRequest = Field(description="what each run asks for")
    cron: Cron = Field(description=CRON_MEANING, examples=["30 6 * * 1-5"])
    zone: Zone = Field("UTC", description=ZONE_MEANING, examples=["Europe/Berlin"])
    window: Window | None = Field(None, description=WINDOW_MEANING, examples=["last 7 days"])
    enabled: bool = Field(True, description="whether it runs by itself")


class ScheduleChange(RequestModel):
    """The fields to change. Fields left out keep their values; `request` is replaced entirely."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}], "minProperties": 1})
    # Default factories, because the schema would show default values, which do not apply.
    name: ExperimentName = Field(default_factory=str, description="unique among the schedules of the owner")
    request: VideoGenerationRequest = Field(
        default_factory=VideoGenerationRequest.model_construct, description="what each run asks for"
    )
    cron: Cron = Field(default_factory=str, description=CRON_MEANING, examples=["0 * * * *"])
    zone: Zone = Field(default_factory=str, description=ZONE_MEANING)
    window: Window | None = Field(default_factory=lambda: None, description=WINDOW_MEANING)
    enabled: bool = Field(default_factory=bool, description="whether it runs by itself")

    @model_validator(mode="after")
    def _require_a_change(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class CapturedBetween(BaseModel):
    """Capture times."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": "2026-02-27T23:00:00Z", "to": "2026-02-28T23:00:00Z"}]},
        serialize_by_alias=True,
    )
    since: datetime | None = Field(alias="from", description="included; null: from the first frame on")
    until: datetime = Field(alias="to", description="excluded")

    @classmethod
    def of(cls, since: datetime | None, until: datetime) -> Self:
        return cls.model_validate({"from": since, "to": until})


class RunProblem(BaseModel):
    """Why a run was refused: a problem as of `POST /api/videos/generate` (RFC 9457)."""

    type: str = Field(examples=["/problems/too-many-requests"])
    title: str = Field(examples=["Too many requests"])
    status: int = Field(examples=[429])
    detail: str = Field(examples=["you have 5 unfinished renders, at most 5 are allowed: let some end"])
    errors: list[FieldError] | None = Field(None, description="every invalid field, as of the body of the schedule")


class ScheduleRun(BaseModel):
    """One run of a schedule: for which time it was planned, and what became of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [EXAMPLE_RUN],
        }
    )
    id: UUID
    number: int = Field(description="counted from 1")
    planned_at: datetime = Field(description="the time of the cron line, or when the run was asked for")
    began_at: datetime
    manual: bool = Field(description="whether somebody asked for it with `run`")
    missed: int = Field(description="earlier times, while nothing ran, for which this run stands; counted up to 10000")
    window: CapturedBetween | None = Field(description="capture times that it shows; null: the schedule has no window")
    state: RunState = Field(description="waiting: it is tried again at `retry_at`")
    job_id: UUID | None = Field(description="its render, which may have been deleted since; see `GET /api/videos`")
    joined: bool = Field(description="whether the same video was there, or in the queue, already")
    attempts: int
    retry_at: datetime | None
    problem: RunProblem | None = Field(description="why it was refused, or has to wait")

    @classmethod
    def from_row(cls, row: RowMapping) -> Self:
        others = {"window", "job_id"}
        window = CapturedBetween.of(row["window_from"], row["window_to"]) if row["window_to"] else None
        facts = {name: row[name] for name in cls.model_fields if name not in others}
        return cls(**facts, window=window, job_id=row["render_id"])


class Schedule(BaseModel):
    """A render that is asked for again and again. Only its owner and admins see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **EXAMPLE_SCHEDULE,
                    "id": EXAMPLE_SCHEDULE_ID,
                    "experiment_id": EXAMPLE_EXPERIMENT_ID,
                    "owner": "camera-lab",
                    "enabled": True,
                    "next_run_at": "2026-03-02T05:30:00Z",
                    "run_count": 0,
                    "last_run": None,
                    "created_at": "2026-02-17T09:12:00Z",
                    "updated_at": "2026-02-17T09:12:00Z",
                }
            ]
        }
    )
    id: UUID
    experiment_id: UUID = Field(description="that of the request; the schedule is deleted with it")
    owner: str = Field(description="its runs ask in this name, with this owner's limits")
    name: str
    request: dict[str, Any] = Field(description="as it was sent")
    cron: str
    zone: str
    window: str | None
    enabled: bool
    next_run_at: datetime | None = Field(description="null: it is off, or its cron line has no more times")
    run_count: int = Field(description="runs so far, those that were asked for with `run` included")
    last_run: ScheduleRun | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: RowMapping, last_run: RowMapping | None = None) -> Self:
        facts = {name: row[name] for name in cls.model_fields if name not in ("window", "last_run")}
        last = None if last_run is None else ScheduleRun.from_row(last_run)
        return cls(**facts, window=row["time_window"], last_run=last)
