"""Field types, examples and the base class that request and response models share."""

from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
)

from service.json_values import storable_text

MAX_INT64 = 2**63 - 1
EXAMPLE_EXPERIMENT_ID = "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11"
EXAMPLE_DATASET_ID = "0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4"


class RequestModel(BaseModel):
    """Base of request bodies and query parameters. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

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


# A date and time in RFC 3339, with an offset.
Timestamp = Annotated[AwareDatetime, BeforeValidator(require_rfc3339)]

# Annotation of text that PostgreSQL can store. Put it after StringConstraints, which strip the text first.
StorableText = AfterValidator(storable_text)
