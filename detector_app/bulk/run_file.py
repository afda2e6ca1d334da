"""What a run was asked for, so that only the same run goes on in its folder."""

import json
from pathlib import Path
from typing import Any

from spyv4.errors import ArgumentError, TableError
from spyv4.files import write_atomically
from spyv4.tables import RUN_FILE, SUFFIX, is_table_folder

Facts = dict[str, Any]


def claim(folder: Path, parts: int, asked: Facts, settled: Facts) -> Facts:
    """Make `folder` the place of a run, or find that it is.

    Args:
        folder: made where it is not there.
        parts: how many there are.
        asked: what must be the same when a run goes on: inputs, weights, options.
        settled: what was decided at its first start, for all later ones.

    Returns:
        What was settled first.

    Raises:
        ArgumentError: if it is the place of another run, or of other files.
        TableError: if its `_run.json` cannot be read.
    """
    path = folder / RUN_FILE
    if not is_table_folder(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise ArgumentError(
                f"--output {folder} holds other files; name a folder that is empty or not there"
            )
        facts = {"parts": parts, "asked": asked, "settled": settled}
        text = json.dumps(facts, indent=1) + "\n"
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
        return settled
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        before, first = dict(facts["asked"]), dict(facts["settled"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(f"{path} cannot be read: {error}; name another --output") from None
    differ = [
        f"{name} ({before.get(name)} then, {asked.get(name)} now)"
        for name in sorted({*before, *asked})
        if before.get(name) != asked.get(name)
    ]
    if differ:
        raise ArgumentError(
            f"--output {folder} is the place of a run with another {', another '.join(differ)}; "
            "give the same command to go on, or name another --output"
        )
    # What a killed process was writing; whoever reads the folder would trip over it.
    for left in folder.glob(f"part-*{SUFFIX}*.part"):
        left.unlink()
    return first
