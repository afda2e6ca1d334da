"""The real server on a free port, in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from detector_app.http.connections import Server, server_config
from detector_app.serving import listen
from tests.unit.detector_app.scripted import wait_until


@contextmanager
def serving(
    app: FastAPI, *, open_files: int = 1024, send_buffer: int | None = None, port: int = 0
) -> Iterator[str]:
    """The address of `app`, which stops at the end."""
    with listen("127.0.0.1", port) as listener:
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        server = Server(server_config(app, open_files))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server did not stop"
