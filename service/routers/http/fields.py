"""Field types, examples and the base class that request and response models share."""

from datetime import UTC, datetime
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
    model_validator,
)

from service.json_values import storable_text

MAX_INT64 = 2**63 - 1
# Members of one object of a request: no model has half as many. Each unknown one would become an error of its own.
MAX_MEMBERS = 100
EXAMPLE_EXPERIMENT_ID = "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11"
EXAMPLE_DATASET_ID = "0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4"


class RequestModel(BaseModel):
    """Base of request bodies and query parameters. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _bound_members(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_MEMBERS:
            raise ValueError(f"has more than {MAX_MEMBERS} members: send those that the documentation names")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would take true and false for the numbers 1 and 0."""
        kind = cls.model_fields[info.field_name].annotation if info.field_name else None
        if isinstance(value, bool) and kind is not bool and bool not in get_args(kind):
            raise ValueError("true and false are not values of this field")
        return value


def require_rfc3339(value: Any) -> Any:
    """Refuse numbers, which pydantic reads as seconds since 1970 but the OpenAPI document does not allow.

    Raises ValueError.
    """
    if isinstance(value, str) and "T" not in value.upper().strip() and " " not in value.strip():
        raise ValueError("write date, time and offset, as in 2026-01-01T00:00:00Z")
    return value


def require_utc_year(moment: datetime) -> datetime:
    """Refuse times whose offset moves them out of the years 1 to 9999 in UTC, where they are compared and stored.

    Raises ValueError.
    """
    try:
        moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be within the years 1 to 9999 in UTC") from error
    return moment


def at_most(count: int) -> BeforeValidator:
    """Annotation of a list: refuse a longer one before its members are looked at, each of which could be an error."""

    def check_length(value: Any) -> Any:
        if isinstance(value, list) and len(value) > count:
            raise ValueError(f"may have at most {count} members")
        return value

    return BeforeValidator(check_length)


# A date and time, in RFC 3339 if there is an offset.
Moment = Annotated[datetime, AfterValidator(require_utc_year)]
# A date and time in RFC 3339, with an offset.
Timestamp = Annotated[AwareDatetime, AfterValidator(require_utc_year), BeforeValidator(require_rfc3339)]
# The value of a header: longer ones mean nothing here.
MAX_HEADER_LENGTH = 4000

# Annotation of text that PostgreSQL can store. Put it after StringConstraints, which strip the text first.
StorableText = AfterValidator(storable_text)
