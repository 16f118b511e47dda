"""A real HTTP server that receives webhooks and sends scripted responses."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class ReceivedRequest:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebhookReceiver:
    """`answers`: the next statuses, of which the last is repeated; "hang" waits for two seconds first."""

    server: ThreadingHTTPServer
    answers: list[Any] = field(default_factory=lambda: [200])
    received: list[ReceivedRequest] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def next_answer(self) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def webhook_receiver(*answers: Any) -> Iterator[WebhookReceiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = made.next_answer()
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.received.append(ReceivedRequest(self.path, headers, body))
            if answer == "hang":
                time.sleep(2)
                answer = 200
            self.send_response(answer)
            if answer // 100 == 3:
                self.send_header("Location", made.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = WebhookReceiver(server, list(answers) or [200])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
