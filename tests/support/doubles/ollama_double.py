"""A contract double of Ollama: a real HTTP server that answers as Ollama 0.x does, with scripted models.

Kept to: the paths, the JSON and NDJSON shapes, status codes and error texts of its API. With `format` a model says
only what fits the schema, unless it is one that ignores `format`, as cloud models do.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema

VERSION, CREATED_AT = "0.32.14", "2026-10-01T08:00:00.000000Z"
# llama.cpp's grammar rejects schemas with more repetitions.
MAX_REPETITION = 2000
# Characters per streamed part.
CHUNK_CHARACTERS = 7


@dataclass(frozen=True)
class TextReply:
    """A complete reply. `length`: the model reached num_predict, so that the text is cut off, with or without a grammar."""

    text: str
    length: bool = False


@dataclass(frozen=True)
class ErrorReply:
    """A status and Ollama's error object instead of a reply."""

    status: int
    error: str


@dataclass(frozen=True)
class BrokenReply:
    """Some text, then an error object in the stream; without `error`, the connection ends in the middle of a line."""

    text: str
    error: str | None = None


@dataclass(frozen=True)
class HangingReply:
    """`text`, then nothing until the double is closed."""

    text: str = ""


Reply = TextReply | ErrorReply | BrokenReply | HangingReply
BUSY = ErrorReply(503, "server busy, please try again.  maximum pending requests exceeded")
OUT_OF_MEMORY = ErrorReply(500, "model requires more system memory (9.1 GiB) than is available (3.2 GiB)")
CRASHED = "an error was encountered while running the model: CUDA error"


@dataclass
class OllamaDouble:
    """`asked`: the bodies of /api/chat. Each model sends its next reply; the last one is repeated."""

    models: tuple[str, ...]
    ignores_format: bool = False
    host: str = ""
    chat_requests: list[dict[str, Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    _replies: dict[str, deque[Reply]] = field(default_factory=dict)

    def script(self, model: str, *replies: Reply | str | dict[str, Any]) -> None:
        """Texts and JSON objects are complete replies."""
        self._replies[model] = deque(_to_reply(reply) for reply in replies)

    def next_reply(self, model: str) -> Reply:
        replies = self._replies.get(model) or deque([ErrorReply(500, f"nothing is scripted for {model}")])
        return replies.popleft() if len(replies) > 1 else replies[0]

    def has(self, model: str) -> bool:
        return _with_tag(model) in map(_with_tag, self.models)

    def prompts(self, model: str) -> list[str]:
        """The prompts sent to this model, each as one text."""
        bodies = (body for body in self.chat_requests if body["model"] == model)
        return ["\n".join(message["content"] for message in body["messages"]) for body in bodies]


@contextmanager
def ollama(*models: str, ignores_format: bool = False) -> Iterator[OllamaDouble]:
    """A server on a free port, with these models pulled."""
    double = OllamaDouble(models, ignores_format)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"double": double}))
    server.daemon_threads = True
    double.host = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield double
    finally:
        double.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    double: OllamaDouble
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        models = [
            {"name": _with_tag(name), "model": _with_tag(name), "size": 1, "digest": "0"} for name in self.double.models
        ]
        match self.path:
            case "/":
                self._send(200, b"Ollama is running", "text/plain; charset=utf-8")
            case "/api/version":
                self._send_json(200, {"version": VERSION})
            case "/api/tags":
                self._send_json(200, {"models": models})
            case "/api/ps":
                self._send_json(200, {"models": []})
            case _:
                self._send(404, b"404 page not found", "text/plain")

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        except ValueError as error:
            return self._send_json(400, {"error": str(error)})
        if self.path == "/api/show":
            return self._handle_show(body)
        if self.path == "/api/chat":
            return self._handle_chat(body)
        return self._send(404, b"404 page not found", "text/plain")

    def log_message(self, *_arguments: Any) -> None: ...

    def _handle_show(self, body: dict[str, Any]) -> None:
        model = body.get("model", "")
        if not self.double.has(model):
            return self._send_json(404, {"error": f"model '{model}' not found"})
        return self._send_json(200, {"details": {"family": "llama"}, "model_info": {}, "capabilities": ["completion"]})

    def _handle_chat(self, body: dict[str, Any]) -> None:
        self.double.chat_requests.append(body)
        if refusal := _find_refusal(self.double, body):
            return self._send_json(refusal.status, {"error": refusal.error})
        if not body.get("messages"):  # loads the model
            return self._send_json(200, _final_part(body["model"], length=False) | {"done_reason": "load"})
        reply = self.double.next_reply(body["model"])
        if isinstance(reply, ErrorReply):
            return self._send_json(reply.status, {"error": reply.error})
        if body.get("stream", True):
            return self._send_stream(body["model"], reply)
        return self._send_whole(body["model"], reply)

    def _send_whole(self, model: str, reply: Reply) -> None:
        match reply:
            case TextReply(text, length):
                self._send_json(200, _final_part(model, length) | {"message": {"role": "assistant", "content": text}})
            case BrokenReply():
                self._send_json(500, {"error": reply.error or CRASHED})
            case _:
                self.double.closing.wait()
                self.close_connection = True

    def _send_stream(self, model: str, reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        text = getattr(reply, "text", "")
        for start in range(0, len(text), CHUNK_CHARACTERS):
            self._send_line(_stream_part(model, text[start : start + CHUNK_CHARACTERS]))
        match reply:
            case TextReply(_, length):
                self._send_line(_final_part(model, length) | {"message": {"role": "assistant", "content": ""}})
            case BrokenReply(_, None):
                return self._cut_stream()
            case BrokenReply(_, error):
                self._send_line({"error": error})
            case _:
                self.double.closing.wait()
        self._send_chunk(b"")
        return None

    def _cut_stream(self) -> None:
        """Half a line, then the end of the stream, as from a proxy whose server has gone."""
        self._send_chunk(b'{"model":"m","created_at":"2026')
        self._send_chunk(b"")

    def _send_line(self, value: dict[str, Any]) -> None:
        self._send_chunk(json.dumps(value).encode() + b"\n")

    def _send_chunk(self, data: bytes) -> None:
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        except OSError:  # the client may disconnect
            self.close_connection = True

    def _send_json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _find_refusal(double: OllamaDouble, body: dict[str, Any]) -> ErrorReply | None:
    """Requests that Ollama rejects before it runs a model, and scripts that the schema does not allow."""
    if not body.get("model"):
        return ErrorReply(400, "model is required")
    if not double.has(body["model"]):
        return ErrorReply(404, f"model '{body['model']}' not found")
    if body.get("think"):
        return ErrorReply(400, f'"{body["model"]}" does not support thinking')
    schema = body.get("format")
    if not schema or schema == "json" or double.ignores_format:
        return None
    if not isinstance(schema, dict):
        return ErrorReply(400, 'invalid format: expected "json" or a JSON schema')
    if _longest_repetition(schema) >= MAX_REPETITION:
        return ErrorReply(500, "failed to parse grammar")
    coming = (double._replies.get(body["model"]) or [None])[0]
    if isinstance(coming, TextReply) and not coming.length and not _matches_schema(coming.text, schema):
        return ErrorReply(500, "the script is wrong: under this format the model cannot say that")
    return None


def _matches_schema(text: str, schema: dict[str, Any]) -> bool:
    try:
        jsonschema.Draft202012Validator(_as_grammar(schema)).validate(json.loads(text))
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def _as_grammar(schema: Any) -> Any:
    """llama.cpp treats an empty schema as that of an object."""
    if isinstance(schema, list):
        return [_as_grammar(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _as_grammar(part) for key, part in schema.items()} or {"type": "object"}


def _longest_repetition(schema: Any) -> int:
    if isinstance(schema, list):
        return max(map(_longest_repetition, schema), default=0)
    if not isinstance(schema, dict):
        return 0
    own = [schema.get(key, 0) for key in ("maxLength", "minLength", "maxItems", "minItems")]
    return max(
        [value for value in own if isinstance(value, int)] + [_longest_repetition(part) for part in schema.values()]
    )


def _stream_part(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "created_at": CREATED_AT, "message": {"role": "assistant", "content": text}, "done": False}


def _final_part(model: str, length: bool) -> dict[str, Any]:
    figures = {"total_duration": 5, "load_duration": 1, "prompt_eval_count": 9, "eval_count": 3, "eval_duration": 2}
    return {
        "model": model,
        "created_at": CREATED_AT,
        "done": True,
        "done_reason": "length" if length else "stop",
    } | figures


def _with_tag(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _to_reply(given: Reply | str | dict[str, Any]) -> Reply:
    if isinstance(given, str | dict):
        return TextReply(given if isinstance(given, str) else json.dumps(given))
    return given
