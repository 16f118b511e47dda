"""All log lines, of uvicorn and libraries too, as JSON on stdout; secrets are redacted by name and by pattern."""

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
_SECRET_NAME = re.compile(
    r"authorization|secret|password|passwd|cookie|api_?key|access_?key|token$|signature|webhook_?url", re.I
)
# Each takes linear time on any text: nothing that one part takes could be taken by the next.
_SECRET_VALUE = re.compile(
    r"(?i:bearer)\s{1,9}[\w.~+/=-]{12,}"  # a bearer token
    r"|(?<=://)[^\s/@:]*+:[^\s/@]*+(?=@)"  # user:password of a URL
    r"|(?<=X-Amz-Signature=)\w+"  # what makes a presigned URL work
    r"|whsec_[\w+/=-]+"  # a webhook secret
)
# A run of characters that may hold a JWT anywhere, which `_redact_token` looks for.
_TOKEN_RUN = re.compile(r"[\w.-]+")
_JWT_START = "eyJ"
# Longer texts are cut, and deeper values left out: nobody reads them, and every line is redacted on the event loop.
MAX_TEXT, MAX_DEPTH = 32 * 1024, 20


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: redact secrets in nested dicts, lists and strings."""
    return {key: REDACTED if _SECRET_NAME.search(key) else redact_value(value) for key, value in event.items()}


def redact_value(value: Any, depth: int = 0) -> Any:
    """The value, with everything that may be a secret replaced, and cut to what a log line may hold."""
    if isinstance(value, str):
        value = cut_text(value, MAX_TEXT)
        return _redact_text(value) if _may_hold_secret(value) else value
    if isinstance(value, dict | list | tuple) and depth >= MAX_DEPTH:
        return "[nested deeper]"
    if isinstance(value, dict):
        return {
            key: REDACTED if _SECRET_NAME.search(str(key)) else redact_value(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(item, depth + 1) for item in value]
    return value


def cut_text(text: str, limit: int) -> str:
    """The first `limit` characters of a longer text, without the last word of them: half a secret looks like none."""
    if len(text) <= limit:
        return text
    end = max(text.rfind(mark, 0, limit) for mark in " \n/") + 1
    return f"{text[:end]}[{len(text) - end} more characters]"


def _redact_text(text: str) -> str:
    return _TOKEN_RUN.sub(_redact_token, _SECRET_VALUE.sub(REDACTED, text))


def _redact_token(run: "re.Match[str]") -> str:
    """A JWT is two dots and what surrounds them, from `eyJ` on."""
    before, start, rest = run[0].partition(_JWT_START)
    return f"{before}{REDACTED}" if start and rest.count(".") >= 2 else run[0]


def _may_hold_secret(text: str) -> bool:
    """A quick check for what every secret contains; the patterns themselves cost far more."""
    marks = (_JWT_START, "://", "X-Amz-Signature", "whsec_")
    return any(mark in text for mark in marks) or "bearer" in text.lower()


Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_NOISY_LOGGERS = ("httpx", "httpcore", "botocore", "aiobotocore", "aioboto3", "urllib3", "asyncio", "PIL", "tifffile")


class LoggingSettings(EnvironmentSettings):
    """How much is logged."""

    level: Level = Field(
        default="INFO", validation_alias="REELMILL_LOG_LEVEL", description="least severe level that is logged"
    )


def configure(level: Level = "INFO", stream: TextIO | None = None) -> None:
    """Send all logging through one formatter; then start uvicorn with `log_config=None, access_log=False`."""
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
    logging.getLogger("uvicorn.access").disabled = True  # telemetry.request_log logs more, once per request
    logging.captureWarnings(True)


class PreformattedRecord(logging.LogRecord):
    """A record whose message is the whole JSON object, which is written as it is."""

    def __init__(self, logger: logging.Logger, level: int, text: str) -> None:
        """Without looking up thread, process and caller, which are not logged."""
        self.__dict__ |= _EMPTY_RECORD
        self.name, self.levelno, self.levelname, self.msg = logger.name, level, LEVEL_NAMES[level].upper(), text


_EMPTY_RECORD = dict(logging.makeLogRecord({}).__dict__)
LEVEL_NAMES = {logging.INFO: "info", logging.ERROR: "error"}


def write_line(logger: logging.Logger, level: int, fields: dict[str, Any]) -> None:
    """Write a line on the fast path. `fields` contain no secret (see `redact_value`); `level` is one of LEVEL_NAMES."""
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
