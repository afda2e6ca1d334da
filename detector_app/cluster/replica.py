"""A replica: the whole server of one process, on a port of its own."""

import logging
import threading
import time

from detector_app.http.app import create_app
from detector_app.http.connections import Server, raise_open_files, server_config
from detector_app.http.memory import share_arena
from detector_app.serving import listen
from detector_app.settings import Settings
from detector_app.stream.sources import quieten
from spyv4.errors import RuntimeUnavailableError, TableError
from spyv4.files import file_sha256
from spyv4.threads import use_threads
from spyv4.weights import find_weights

STARTING_S, ENDING_S = 60.0, 12.0


class ReplicaServer:
    """A server in a thread.

    Args:
        settings: what to serve.
        weights_sha256: of the weights' file, hexadecimal.
        threads: how many to compute with.
        host: address that the front reaches it by; the port is any that is free.

    Attributes:
        address: host:port.

    Raises:
        TableError: if the weights here are others.
    """

    def __init__(self, settings: Settings, weights_sha256: str, threads: int, host: str) -> None:
        logging.getLogger("detector_app").setLevel(logging.INFO)
        weights = find_weights(settings.weights)
        if file_sha256(weights) != weights_sha256:
            raise TableError(f"{weights} is not the file that was deployed; copy that here")
        use_threads(threads)
        quieten()
        share_arena()
        app = create_app(settings, settings.load_detector())
        self._scheduler = app.state.hub.scheduler
        self._listener = listen(host, 0)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self._listener.getsockname()[1]}"
        self._server = Server(server_config(app, raise_open_files()))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + STARTING_S
        while not self._server.started and time.monotonic() < deadline:
            self.check()
            time.sleep(0.02)

    def check(self) -> None:
        """Raise where only a new start would help.

        Raises:
            RuntimeUnavailableError: the server ended, or its detector failed.
        """
        if self._scheduler.failed or not self._thread.is_alive():
            raise RuntimeUnavailableError("the server of this replica failed; its log says why")

    def stop(self) -> None:
        """End in peace; may be called any number of times."""
        self._server.should_exit = True
        self._thread.join(ENDING_S)
        self._listener.close()
