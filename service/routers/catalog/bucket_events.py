"""Notifications of buckets, as MinIO, Ceph RGW and AWS S3 send them: hints to look at followed datasets now."""

from collections.abc import Iterable
from typing import Annotated, Any, Self
from urllib.parse import unquote_plus

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.json_values import storable_text
from service.routers.http.dependencies import DatabaseDep, require_scope
from service.routers.http.fields import at_most
from service.store.catalog import follows
from service.telemetry import metrics

router = APIRouter(prefix="/api/events", tags=["datasets"])
MAX_RECORDS = 1000
# S3's limit of a key, percent-encoded.
MAX_ENCODED_KEY = 3 * 1024
EXAMPLE_EVENT: dict[str, Any] = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "microscope/2026-03-01/camera-1/frame_00899.jpg",
    "Records": [
        {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "microscope"},
                "object": {"key": "2026-03-01%2Fcamera-1%2Fframe_00899.jpg", "size": 210_000},
            },
        }
    ],
}

# What the validator of BucketEvents asks for, as the document of the API says it.
ONE_OF_BOTH: list[Any] = [
    {"required": ["Records"], "properties": {"Records": {"type": "array"}}},
    {"required": ["Event"], "properties": {"Event": {"type": "string"}}},
]


class EventBucket(BaseModel):
    """The bucket where it happened."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]


class EventObject(BaseModel):
    """The object to which it happened."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ENCODED_KEY)] = Field(
        description="URL-encoded, as S3 sends it"
    )


class EventPlace(BaseModel):
    """Where it happened."""

    bucket: EventBucket
    object: EventObject


class EventRecord(BaseModel):
    """One event. Of what it says, only the place counts."""

    s3: EventPlace


class BucketEvents(BaseModel):
    """A notification of S3. Members that are not named here are not read, as each store sends others."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_EVENT], "anyOf": ONE_OF_BOTH})
    records: Annotated[list[EventRecord], at_most(MAX_RECORDS)] | None = Field(
        None, alias="Records", description=f"at most {MAX_RECORDS}"
    )
    event: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        None, alias="Event", description="`s3:TestEvent` without records, as AWS sends it when it is set up"
    )

    @model_validator(mode="after")
    def _require_records(self) -> Self:
        if self.records is None and self.event is None:
            raise ValueError("has no Records: send a notification of S3 as it is")
        return self


class EventsReceived(BaseModel):
    """How many events were read. What follows from them is not said: it may be others'."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"records": 1}]})
    records: int


@router.post(
    "/s3",
    status_code=202,
    summary="Tell that a bucket has changed",
    response_model=EventsReceived,
    dependencies=[Depends(require_scope("events:write"))],
)
async def receive_bucket_events(body: BucketEvents, database: DatabaseDep) -> EventsReceived:
    """Followed datasets with a prefix that matches are looked at within about a second. Events are hints only: lost,
    doubled, late or wrong ones do no harm, as workers look by themselves and trust the listing alone. MinIO sends the
    token that is its `auth_token`."""
    places = [(record.s3.bucket.name, record.s3.object.key) for record in body.records or ()]
    metrics.BUCKET_EVENTS.inc(len(places))
    if places:
        async with database.service_transaction() as connection:
            metrics.HINTS.inc(await follows.hint(connection, sorted(set(_decode(places)))))
    return EventsReceived(records=len(places))


def _decode(places: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Each place as it is, and decoded: some stores send keys that are not encoded."""
    for bucket, key in places:
        for form in (key, unquote_plus(key)):
            try:
                yield storable_text(bucket), storable_text(form)
            except ValueError:
                continue  # no dataset can have such a prefix
