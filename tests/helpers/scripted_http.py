"""A server that answers what a test says, over a real socket."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

_FOUND = {"width": 9, "height": 5, "reads": 1, "detections": [], "firing_rates": {}}
# What a server says of a picture in which it finds nothing.
EMPTY = json.dumps(_FOUND | {"timings_ms": {}, "per_read": None, "classes": []}).encode()


class Answer(NamedTuple):
    """What is said to one request; a status of 0 closes the connection without a word."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    delay_s: float = 0.0


@dataclass
class Heard:
    """What was asked: bodies and times, in order."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@contextmanager
def answering(*answers: Answer) -> Iterator[Heard]:
    """Give the answers one after the other, the last to all that come later."""
    coming = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.times.append(time.monotonic())
            heard.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            answer = coming.pop(0) if len(coming) > 1 else coming[0]
            time.sleep(answer.delay_s)
            if not answer.status:
                return
            with suppress(ConnectionError):  # of a client that did not wait
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard = Heard(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
