"""One JSON object per line, whoever logs it, and never a secret."""

import io
import json
import logging
from typing import Any

import pytest
import structlog

from service.telemetry.logging import MAX_TEXT, configure, cut_text, redact_value

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
        {"text": "https://host/?key=x&t=eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2&next=1"},
        {"text": "0_eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2.hunter2.hunter2"},
        {"text": "https://user:hunter2:hunter2@host/"},
        {"text": f"https://user:{'x' * MAX_TEXT}hunter2@host/"},
        {"text": f"{'x' * MAX_TEXT}.eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2", "url": "https://a:b@c"},
        {"url": "https://minio/x?X-Amz-Signature=0123456789abcdef&y=1"},
    ],
)
def test_redaction(event: dict[str, Any]) -> None:
    configure(stream=(stream := io.StringIO()))
    structlog.get_logger().info("said", **event)
    assert "hunter2" not in stream.getvalue() and "0123456789abcdef" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue() or "more characters]" in stream.getvalue()


def test_long_texts_are_cut_at_a_word_and_deep_values_left_out() -> None:
    assert cut_text("a bc/def", 8) == "a bc/def"
    assert cut_text("a bc/def", 7) == "a bc/[3 more characters]"
    assert cut_text("abcdefgh", 7) == "[8 more characters]"
    assert len(redact_value("word " * MAX_TEXT)) < MAX_TEXT + 30
    deep: Any = "leaf"
    for _ in range(5000):
        deep = [deep]
    assert "[nested deeper]" in json.dumps(redact_value(deep))
