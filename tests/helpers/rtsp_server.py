"""An RTSP server of moving pictures, by GStreamer; run by the system's Python, which has gi.

It prints its port and then serves `rtsp://127.0.0.1:PORT/test` until it is ended.
"""

import sys

MISSING = 3
"""Exit code where a part of GStreamer is not installed; the standard error says which."""

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(MISSING)

PIPELINE = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=15/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 "
    "! rtph264pay name=pay0 pt=96 config-interval=1"
)


def main() -> None:
    """Serve until somebody ends the process."""
    Gst.init(None)
    for name in ("videotestsrc", "x264enc", "rtph264pay"):
        if Gst.ElementFactory.find(name) is None:
            sys.stderr.write(f"GStreamer has no {name}\n")
            sys.exit(MISSING)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {PIPELINE} )")
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    server.get_mount_points().add_factory("/test", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)  # noqa: T201 - whoever started it reads it
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
