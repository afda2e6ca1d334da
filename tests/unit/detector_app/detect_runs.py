"""What the tests of `spyv4-detect` share."""

import json

from detector_app.commands.detect import detect_command


def run(*arguments, reads=1):
    return detect_command([*map(str, arguments), "--reads", str(reads)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
