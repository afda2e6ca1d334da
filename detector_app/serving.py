"""The server as a process: its socket, its log, and its model."""

import errno
import logging
import socket
import webbrowser
from pathlib import Path

from detector_app.http.app import create_app
from detector_app.http.connections import Server, raise_open_files, server_config
from detector_app.http.memory import share_arena
from detector_app.logs import log_json
from detector_app.record import recording
from detector_app.settings import Settings
from detector_app.stream.sources import quieten
from spyv4.commandline import EXIT_OK, exit_code
from spyv4.errors import ArgumentError, SPYv4Error

logger = logging.getLogger(__name__)


def serve(
    settings: Settings,
    *,
    open_browser: bool = False,
    record: Path | None = None,
    live: bool = False,
) -> int:
    """Run the server until it is interrupted.

    Args:
        settings: what to serve.
        open_browser: open the page.
        record: file for the source with its boxes.
        live: fail where the source cannot be opened, instead of serving without it.
    """
    if settings.log_format == "text":
        return _run(settings, open_browser, record, live=live)
    log_json()
    try:
        return _run(settings, open_browser, record, live=live)
    except (SPYv4Error, OSError) as error:  # who reads the log as JSON reads this, too
        logger.error("%s", error)  # noqa: TRY400 - one that is expected has no traceback
        return exit_code(error)


def _run(settings: Settings, open_browser: bool, record: Path | None, *, live: bool) -> int:
    settings.require_guard()
    quieten()
    share_arena()
    with listen(settings.host, settings.port) as listener:
        source = settings.open_source()
        if live and source is not None:
            source.open()
            source.close()
        detector = settings.load_detector()
        app = create_app(settings, detector)
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        url = f"http://{host}:{listener.getsockname()[1]}"
        config = server_config(app, raise_open_files())
        opened = url if settings.api_key is None else f"{url}/?key=KEY, once with its key"
        print(f"SPYv4 is at {opened} (API: {url}/docs). Ctrl-C ends it.", flush=True)
        if open_browser:
            webbrowser.open(url)
        with recording(app.state.hub, settings.read_options(detector.config), record):
            Server(config).run(sockets=[listener])
    return EXIT_OK


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is known before the model is loaded.

    Raises:
        ArgumentError: where the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = (error.strerror or "unknown reason").lower()
        taken = error.errno == errno.EADDRINUSE
        advice = "end the other server or choose another --port" if taken else "check --host"
        raise ArgumentError(f"cannot listen on {host} port {port}: {reason}; {advice}") from None
    return listener
