"""Bulk detection against single pictures, and with Ray against without.

    python -m tests.load.bulk PATTERN --actors 2 --json FILE

1. Tables with and without Ray, and one over Ray whose first process is killed (SIGKILL) in the
   middle and begun again, against `Detector.detect` of one picture after the other.
2. Which parts were done again after the kill: none may.
3. Pictures a second of each, as the command says it, start of Ray and of the actors included, and
   without them.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from detector_app.detecting.inputs import find_inputs
from spyv4 import Detector
from spyv4.tables import read_rows

DETECT = "import sys; from detector_app.commands.detect import detect_command as c; sys.exit(c())"
SCORE = 0.01


def command(pattern, folder, *options):
    return [sys.executable, "-c", DETECT, pattern, "--output", str(folder), *options]


def run(pattern, folder, *options):
    began = time.perf_counter()
    done = subprocess.run(
        command(pattern, folder, *options), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    took = time.perf_counter() - began
    looks, busy = re.search(r"; (\d+) looks, .* objects, ([\d.]+) s", done.stdout).groups()
    return {
        "seconds": round(took, 2),
        "looks": int(looks),
        "per_s": round(int(looks) / took, 2),
    } | {
        "per_s_without_start": round(int(looks) / float(busy), 2),
        "per_s_between_parts": between(folder),
    }


def times(folder):
    return {path.name: path.stat().st_mtime for path in sorted(folder.glob("part-*.parquet"))}


def between(folder):
    """Pictures a second from the first part that was done to the last: start left out."""
    ended = sorted((path.stat().st_mtime, path) for path in folder.glob("part-*.parquet"))
    pictures = [len({row["image"] for row in read_rows(path)}) for _, path in ended[1:]]
    return round(sum(pictures) / max(ended[-1][0] - ended[0][0], 1e-9), 2)


def killed(pattern, folder, parts, *options):
    """Begin, kill all of its processes once `parts` parts are there, and go on."""
    process = subprocess.Popen(
        command(pattern, folder, *options), start_new_session=True, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and len(times(folder)) < parts:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2)
    before = times(folder)
    again = run(pattern, folder, *options)
    after = times(folder)
    redone = [name for name, when in before.items() if after[name] != when]
    return again | {"parts_before": len(before), "parts": len(after), "done_again": redone}


def alone(pattern, settled):
    """Rows of pictures that are looked at one by one."""
    detector = Detector.load(**settled)
    began = time.perf_counter()
    rows = []
    inputs, _ = find_inputs([Path(pattern)], recursive=False)
    for path in sorted(str(item.path) for item in inputs):
        found = detector.detect(path, score_threshold=SCORE)
        names = [found.class_names[label] for label in found.labels]
        rows += zip(
            [path] * len(names),
            names,
            map(float, found.scores),
            map(tuple, found.boxes_xyxy.tolist()),
            strict=True,
        )
    return rows, round(time.perf_counter() - began, 2)


def boxes(folder):
    return [
        (row["image"], row["class"], row["score"], tuple(row["box_xyxy"]))
        for row in read_rows(folder)
        if row.get("class") is not None
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern")
    parser.add_argument("--actors", default="2")
    parser.add_argument("--partition", default="64")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    common = ("--score", str(SCORE), "--partition", arguments.partition)
    ray = ("--ray", "--actors", arguments.actors)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name / "parquet" for name in ("one", "ray", "killed")}
        facts = {
            "one process": run(arguments.pattern, folders["one"], *common),
            "ray": run(arguments.pattern, folders["ray"], *common, *ray),
            "ray, killed": killed(arguments.pattern, folders["killed"], 3, *common, *ray),
        }
        settled = json.loads((folders["one"] / "_run.json").read_text())["settled"]
        rows, seconds = alone(arguments.pattern, settled)
        facts |= {"reads as": settled, "Detector.detect": {"boxes": len(rows), "seconds": seconds}}
        for name, folder in folders.items():
            found = boxes(folder)
            facts[f"alike, {name}"] = f"{len(set(found) & set(rows))} of {len(found)}"
    text = json.dumps(facts, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
