"""Runs the steps of a Dockerfile in a root."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2b_dockerfile_utils import PatternMatcher

from tests.load.image.recipe import Copy, MakeFolder, Recipe, RecipeError, Run
from tests.load.image.root import HOSTS, command_in, inside, mounted, owner_ids

BASES = {"python:3.11-slim": ("bookworm", "python3,python3-venv,ca-certificates")}
"""Images that a root of Debian stands in for: its release, and what is installed besides. There,
Python lies in /usr/local/bin; here, it is Debian's own, in /usr/bin."""


def make_base(image: str, root: Path, mirror: str) -> None:
    """Fill an empty folder with what stands in for an image.

    Raises:
        RecipeError: if nothing does.
    """
    if image not in BASES:
        raise RecipeError(f"FROM {image}: nothing stands in for it; known: {', '.join(BASES)}")
    release, packages = BASES[image]
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", release, root, mirror]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (root / "etc" / "hosts").write_text(HOSTS)


def build(
    recipe: Recipe, root: Path, context: Path, binds: Sequence[tuple[Path, str]]
) -> list[dict[str, object]]:
    """Run the steps, and say how long each took.

    Args:
        recipe: what the Dockerfile says.
        root: what stands in for its base.
        context: the folder that COPY copies from.
        binds: files or folders of this machine that are there meanwhile, and where.

    Raises:
        RuntimeError: if a step fails; what it said is on the standard error.
    """
    taken = []
    with mounted(root, [(Path("/etc/resolv.conf"), "/etc/resolv.conf"), *binds]):
        for step in recipe.steps:
            started = time.perf_counter()
            match step:
                case Run(line, place, command):
                    done = subprocess.run(
                        command_in(root, place, command),
                        stdin=subprocess.DEVNULL,
                        stdout=sys.stderr,
                        check=False,
                    )
                    if done.returncode:
                        raise RuntimeError(f"line {line} of the Dockerfile: {done.returncode}")
                    said = command[-1]
                case Copy(_, source, target, owner):
                    number = copy(context, source, inside(root, target), owner_ids(root, owner))
                    said = f"COPY {source} {target}, {number} files"
                case MakeFolder(_, path):
                    inside(root, path).mkdir(parents=True, exist_ok=True)
                    said = f"WORKDIR {path}"
            seconds = round(time.perf_counter() - started, 1)
            taken.append({"line": step.line, "step": " ".join(said.split()), "seconds": seconds})
    return taken


def copy(context: Path, source: str, target: Path, ids: tuple[int, int]) -> int:
    """Copy a folder of the context without what .dockerignore names; how many files it has."""
    folder = (context / source.lstrip("/")).resolve()
    if not folder.is_dir() or not folder.is_relative_to(context):
        raise RecipeError(f"COPY {source}: expected a folder of the context; only such are known")
    make_owned(target, ids)
    number = 0
    for path in sent(context, folder):
        copied = target / path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            make_owned(copied, ids)
            shutil.copymode(path, copied)
        else:
            make_owned(copied.parent, ids)  # where a pattern brings back what another left out
            shutil.copy2(path, copied, follow_symlinks=False)
            os.chown(copied, *ids, follow_symlinks=False)
            number += 1
    return number


def make_owned(folder: Path, ids: tuple[int, int]) -> None:
    """A folder that is there as it is, or else a new one."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        os.chown(folder, *ids)


def sent(context: Path, folder: Path) -> Iterator[Path]:
    """What lies in a folder of the context and is not left out, folders before their content."""
    ignore = context / ".dockerignore"
    matcher = PatternMatcher(ignore.read_text().splitlines() if ignore.is_file() else [])
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders.sort()
        for name in sorted([*folders, *files]):
            relative = (here / name).relative_to(context).as_posix()
            if not matcher.matches(relative):
                yield here / name
            elif name in folders and not matcher.may_match_under(relative):
                folders.remove(name)


def size_mib(root: Path) -> int:
    """What a root takes on the disk."""
    done = subprocess.run(
        ["du", "-sm", "--one-file-system", root], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[0])
