"""One stream of JSON on stdout for our events, uvicorn's and every library's; secrets are redacted by name and by
pattern.
"""

import json
import logging
import re
import sys
import time
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog
from pydantic import Field
from structlog.typing import EventDict, Processor, WrappedLogger

from service.environment import EnvironmentSettings

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"authorization|secret|password|passwd|cookie|api_?key|access_?key|token$|signature", re.I)
_SECRET_VALUE = re.compile(
    r"(?i:bearer)\s+[\w.~+/=-]{12,}"  # a bearer token
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT anywhere
    r"|(?<=://)[^\s/@]*:[^\s/@]*(?=@)"  # user:password of a URL
    r"|(?<=X-Amz-Signature=)\w+"  # what makes a presigned URL work
)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor; walks nested dicts, lists and strings."""
    return {key: REDACTED if _SECRET_NAME.search(key) else redact_value(value) for key, value in event.items()}


def redact_value(value: Any) -> Any:
    """The value without what looks like a secret."""
    if isinstance(value, str):
        return _SECRET_VALUE.sub(REDACTED, value) if _may_hold_secret(value) else value
    if isinstance(value, dict):
        return {key: REDACTED if _SECRET_NAME.search(str(key)) else redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    return value


def _may_hold_secret(text: str) -> bool:
    """Whether any of the shapes may be in it: a search for what they all need costs far less than theirs."""
    return "eyJ" in text or "://" in text or "X-Amz-Signature" in text or "bearer" in text.lower()


Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_NOISY_LOGGERS = ("httpx", "httpcore", "botocore", "aiobotocore", "aioboto3", "urllib3", "asyncio", "PIL", "tifffile")


class LoggingSettings(EnvironmentSettings):
    """How much is said."""

    level: Level = Field(
        default="INFO", validation_alias="REELMILL_LOG_LEVEL", description="least severe level that is logged"
    )


def configure(level: Level = "INFO", stream: TextIO | None = None) -> None:
    """Send everything through one formatter; start uvicorn with `log_config=None, access_log=False` after this."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(_create_formatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True  # telemetry.access says more, once
    logging.captureWarnings(True)


class PreformattedRecord(logging.LogRecord):
    """A record whose message is the whole JSON object: what every request writes takes no detour."""

    def __init__(self, logger: logging.Logger, level: int, text: str) -> None:
        """Without asking for thread, process and caller, which nothing here tells."""
        self.__dict__ |= _EMPTY_RECORD
        self.name, self.levelno, self.levelname, self.msg = logger.name, level, LEVEL_NAMES[level].upper(), text


_EMPTY_RECORD = dict(logging.makeLogRecord({}).__dict__)
LEVEL_NAMES = {logging.INFO: "info", logging.ERROR: "error"}


def write_line(logger: logging.Logger, level: int, fields: dict[str, Any]) -> None:
    """A line as any other, from values that hold no secret (see `redaction.clean`). `level`: one of LEVELS."""
    if logger.isEnabledFor(level):
        fields["level"], fields["logger"], fields["timestamp"] = LEVEL_NAMES[level], logger.name, _timestamp()
        logger.handle(PreformattedRecord(logger, level, json.dumps(fields)))


def _timestamp() -> str:
    seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_format_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=2)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class _JsonFormatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg) if isinstance(record, PreformattedRecord) else super().format(record)


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]


def _create_formatter() -> structlog.stdlib.ProcessorFormatter:
    return _JsonFormatter(
        foreign_pre_chain=[*_shared_processors(), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # the plain traceback: no locals, which hold secrets
            _drop_color_message,
            redact_event,
            structlog.processors.JSONRenderer(),
        ],
    )


def _drop_color_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event
