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

VERSION, MOMENT = "0.32.14", "2026-10-01T08:00:00.000000Z"
LONGEST_REPETITION = 2000
"""llama.cpp's grammar refuses a schema that asks for more of the same."""
CHUNK = 7
"""Characters of a streamed part."""


@dataclass(frozen=True)
class Says:
    """A whole answer. `length`: the model ran into num_predict, so that its text is cut, grammar or not."""

    text: str
    length: bool = False


@dataclass(frozen=True)
class Fails:
    """A status and Ollama's error object instead of an answer."""

    status: int
    error: str


@dataclass(frozen=True)
class BreaksOff:
    """Some text, then an error object in the stream; without `error` the connection ends in the middle of a line."""

    text: str
    error: str | None = None


@dataclass(frozen=True)
class Hangs:
    """Nothing (after `text`) until the double is closed."""

    text: str = ""


Reply = Says | Fails | BreaksOff | Hangs
BUSY = Fails(503, "server busy, please try again.  maximum pending requests exceeded")
OUT_OF_MEMORY = Fails(500, "model requires more system memory (9.1 GiB) than is available (3.2 GiB)")
CRASHED = "an error was encountered while running the model: CUDA error"


@dataclass
class OllamaDouble:
    """`asked`: the bodies of /api/chat. Each model answers with its next reply; the last one is repeated."""

    models: tuple[str, ...]
    ignores_format: bool = False
    host: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    _replies: dict[str, deque[Reply]] = field(default_factory=dict)

    def script(self, model: str, *replies: Reply | str | dict[str, Any]) -> None:
        """Texts and JSON objects are whole answers."""
        self._replies[model] = deque(_reply(reply) for reply in replies)

    def next_reply(self, model: str) -> Reply:
        replies = self._replies.get(model) or deque([Fails(500, f"nothing is scripted for {model}")])
        return replies.popleft() if len(replies) > 1 else replies[0]

    def has(self, model: str) -> bool:
        return _tagged(model) in map(_tagged, self.models)

    def prompts(self, model: str) -> list[str]:
        """Everything each question to this model said, as one text."""
        bodies = (body for body in self.asked if body["model"] == model)
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
            {"name": _tagged(name), "model": _tagged(name), "size": 1, "digest": "0"} for name in self.double.models
        ]
        match self.path:
            case "/":
                self._send(200, b"Ollama is running", "text/plain; charset=utf-8")
            case "/api/version":
                self._json(200, {"version": VERSION})
            case "/api/tags":
                self._json(200, {"models": models})
            case "/api/ps":
                self._json(200, {"models": []})
            case _:
                self._send(404, b"404 page not found", "text/plain")

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        except ValueError as error:
            return self._json(400, {"error": str(error)})
        if self.path == "/api/show":
            return self._show(body)
        if self.path == "/api/chat":
            return self._chat(body)
        return self._send(404, b"404 page not found", "text/plain")

    def log_message(self, *_arguments: Any) -> None: ...

    def _show(self, body: dict[str, Any]) -> None:
        model = body.get("model", "")
        if not self.double.has(model):
            return self._json(404, {"error": f"model '{model}' not found"})
        return self._json(200, {"details": {"family": "llama"}, "model_info": {}, "capabilities": ["completion"]})

    def _chat(self, body: dict[str, Any]) -> None:
        self.double.asked.append(body)
        if refusal := _refusal(self.double, body):
            return self._json(refusal.status, {"error": refusal.error})
        reply = self.double.next_reply(body["model"])
        if isinstance(reply, Fails):
            return self._json(reply.status, {"error": reply.error})
        if body.get("stream", True):
            return self._stream(body["model"], reply)
        return self._whole(body["model"], reply)

    def _whole(self, model: str, reply: Reply) -> None:
        match reply:
            case Says(text, length):
                self._json(200, _ending(model, length) | {"message": {"role": "assistant", "content": text}})
            case BreaksOff():
                self._json(500, {"error": reply.error or CRASHED})
            case _:
                self.double.closing.wait()
                self.close_connection = True

    def _stream(self, model: str, reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        text = getattr(reply, "text", "")
        for start in range(0, len(text), CHUNK):
            self._line(_part(model, text[start : start + CHUNK]))
        match reply:
            case Says(_, length):
                self._line(_ending(model, length) | {"message": {"role": "assistant", "content": ""}})
            case BreaksOff(_, None):
                return self._cut()
            case BreaksOff(_, error):
                self._line({"error": error})
            case _:
                self.double.closing.wait()
        self._chunk(b"")
        return None

    def _cut(self) -> None:
        """Half of a line, then the end of the stream: how a proxy ends one whose server is gone."""
        self._chunk(b'{"model":"m","created_at":"2026')
        self._chunk(b"")

    def _line(self, value: dict[str, Any]) -> None:
        self._chunk(json.dumps(value).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        except OSError:  # the client has gone, as it may
            self.close_connection = True

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _refusal(double: OllamaDouble, body: dict[str, Any]) -> Fails | None:
    """What Ollama refuses before a model is asked, and a script that could not be said."""
    if not body.get("model"):
        return Fails(400, "model is required")
    if not double.has(body["model"]):
        return Fails(404, f"model '{body['model']}' not found")
    if body.get("think"):
        return Fails(400, f'"{body["model"]}" does not support thinking')
    schema = body.get("format")
    if not schema or schema == "json" or double.ignores_format:
        return None
    if not isinstance(schema, dict):
        return Fails(400, 'invalid format: expected "json" or a JSON schema')
    if _longest_repetition(schema) >= LONGEST_REPETITION:
        return Fails(500, "failed to parse grammar")
    coming = (double._replies.get(body["model"]) or [None])[0]
    if isinstance(coming, Says) and not coming.length and not _fits(coming.text, schema):
        return Fails(500, "the script is wrong: under this format the model cannot say that")
    return None


def _fits(text: str, schema: dict[str, Any]) -> bool:
    try:
        jsonschema.Draft202012Validator(_as_grammar(schema)).validate(json.loads(text))
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def _as_grammar(schema: Any) -> Any:
    """llama.cpp has long read a schema without any word as an object's."""
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


def _part(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "created_at": MOMENT, "message": {"role": "assistant", "content": text}, "done": False}


def _ending(model: str, length: bool) -> dict[str, Any]:
    figures = {"total_duration": 5, "load_duration": 1, "prompt_eval_count": 9, "eval_count": 3, "eval_duration": 2}
    return {"model": model, "created_at": MOMENT, "done": True, "done_reason": "length" if length else "stop"} | figures


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _reply(given: Reply | str | dict[str, Any]) -> Reply:
    if isinstance(given, str | dict):
        return Says(given if isinstance(given, str) else json.dumps(given))
    return given
