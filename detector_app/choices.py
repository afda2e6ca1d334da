"""What the commands of the app say of their settings before those are loaded."""

PREFIX = "SPYV4_"
"""Of the environment variables that are settings."""
HOST, PORT, SERVED_READS = "127.0.0.1", 8000, 32
"""Where nobody says; the last is the most reads a client may ask for."""
EVENT_WINDOW_MS = 33.0
"""Length of a frame made of the events of a recording, where nobody says."""
