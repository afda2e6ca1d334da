import json
import logging
import sys
from datetime import UTC, datetime

from detector_app.logs import JsonLines


def test_a_record_is_an_object_in_a_line():
    record = logging.LogRecord("a.b", logging.WARNING, "x.py", 1, "%s\nand %d", ("ä", 2), None)
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    time = datetime.fromisoformat(line.pop("time"))
    assert abs(time.timestamp() - record.created) <= 0.001
    assert time.tzinfo == UTC
    assert line == {"level": "WARNING", "logger": "a.b", "message": "ä\nand 2"}


def test_an_exception_is_in_the_same_line():
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "x.py", 1, "it failed", (), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text
    exception = json.loads(text)["exception"]
    assert exception.startswith("Traceback")
    assert exception.endswith("ValueError: broken")
