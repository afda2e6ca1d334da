"""A server with short deadlines, and bare connections to it."""

import socket
from contextlib import contextmanager, suppress

import httpx

from detector_app.http.app import create_app
from detector_app.http.limits import Deadlines
from detector_app.settings import Settings
from tests.unit.detector_app.serving import serving

HASTY = Deadlines(head_s=1.0, silence_s=1.0, grace_s=1.0, bytes_per_s=5_000, send_s=1.0)
POST = b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextmanager
def hasty(detector, *, settings=None, open_files=1024, send_buffer=None, deadlines=HASTY):
    """A client and the app of a server with short deadlines."""
    app = create_app(settings or Settings(), detector, deadlines)
    with (
        serving(app, open_files=open_files, send_buffer=send_buffer) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client, app


def dial(client, data=b"", receive_buffer=None):
    """A bare connection that has sent `data`."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect((client.base_url.host, client.base_url.port))
    connection.sendall(data)
    return connection


def address(client):
    return f"ws://{client.base_url.host}:{client.base_url.port}/ws"


def is_closed(connection):
    """Whether the server has closed a connection; what it sent before is thrown away."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def read_all(connection):
    connection.settimeout(20)
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def send_if_open(connection, data):
    with suppress(OSError):
        connection.send(data)
