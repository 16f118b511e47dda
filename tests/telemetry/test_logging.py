"""One JSON object per line, whoever logs it, and never a secret."""

import io
import json
import logging
from typing import Any

import pytest
import structlog

from service.telemetry.logging import configure

pytestmark = pytest.mark.usefixtures("log_lines")
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJsYWIifQ.c2lnbmF0dXJl"


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_foreign_lines_have_one_shape() -> None:
    configure(stream=(stream := io.StringIO()))
    structlog.get_logger("service.trial").info("began", frames=3)
    logging.getLogger("uvicorn.error").info("Started %s", "process", extra={"color_message": "\x1b[1m"})
    logging.getLogger("uvicorn.access").info("GET / 200")
    logging.getLogger("httpx").info("HTTP Request")
    ours, foreign = lines(stream)
    assert (ours["event"], ours["frames"], ours["level"], ours["logger"]) == ("began", 3, "info", "service.trial")
    assert (foreign["event"], foreign["logger"]) == ("Started process", "uvicorn.error")
    assert ours["timestamp"].endswith("Z") and "color_message" not in foreign


def test_the_level_holds() -> None:
    configure("WARNING", stream=(stream := io.StringIO()))
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_tracebacks_have_no_locals_and_no_secrets() -> None:
    configure(stream=(stream := io.StringIO()))
    password = "hunter2"
    try:
        raise ValueError(f"postgresql://reelmill:{password}@host/db refused {JWT}")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed")
    for line in lines(stream):
        assert "ValueError" in line["exception"] and "[redacted]@host" in line["exception"]
        assert "hunter2" not in json.dumps(line) and JWT not in json.dumps(line)


@pytest.mark.parametrize(
    "event",
    [
        {"Authorization": "hunter2"},
        {"headers": {"authorization": "hunter2", "cookie": "hunter2"}},
        {"values": [{"jwt_secret": "hunter2"}, {"access_token": "hunter2"}]},
        {"MINIO_SECRET_KEY": "hunter2", "password": "hunter2", "api_key": "hunter2"},
        {"text": "Authorization: Bearer hunter2hunter2hunter2"},
        {"url": "https://minio/x?X-Amz-Signature=0123456789abcdef&y=1"},
    ],
)
def test_redaction(event: dict[str, Any]) -> None:
    configure(stream=(stream := io.StringIO()))
    structlog.get_logger().info("said", **event)
    assert "hunter2" not in stream.getvalue() and "0123456789abcdef" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()
