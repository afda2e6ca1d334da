"""A folder as the root of a file system, as a container has it.

Everything is mounted in a mount namespace of this process alone, so that nothing is left mounted
whatever becomes of it; and taken down again in order where it ends in peace.
"""

import ctypes
import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.load.image.recipe import Place

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000  # of linux/sched.h
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
TEMPORARY = "rw,noexec,nosuid,nodev"
"""What Docker mounts a tmpfs with where nothing else is said."""


def leave(namespace: int) -> None:
    """Give this process, and those that it starts from now on, a namespace of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(namespace):
        code = ctypes.get_errno()
        raise OSError(code, f"no namespace of its own, run this as root: {os.strerror(code)}")


def leave_mounts() -> None:
    """Mount from now on where no other process sees it."""
    leave(NEW_MOUNTS)
    call("mount", "--make-rprivate", "/")


def leave_network() -> None:
    """Have no network from now on but a loopback interface of one's own."""
    leave(NEW_NETWORK)
    call("ip", "link", "set", "lo", "up")


def call(*words: str | Path) -> None:
    """Run a command of this machine, and say what it was where it fails."""
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} failed: {done.stderr.strip()}")


@contextmanager
def mounted(
    root: Path, binds: Sequence[tuple[Path, str]] = (), writable: Sequence[str] | None = None
) -> Iterator[None]:
    """The folder with what an engine mounts in a container.

    Args:
        root: absolute, without symbolic links.
        binds: files or folders of this machine, and where they are to be read.
        writable: None for everything; or what alone may be written to, folders of the root.
    """
    with ExitStack() as stack:

        def mount(target: str, *words: str | Path) -> None:
            call("mount", *words, root / target.lstrip("/"))
            stack.callback(call, "umount", root / target.lstrip("/"))

        if writable is not None:
            mount("", "--bind", root)
            for folder in writable:
                mount(folder, "--bind", root / folder.lstrip("/"))
            call("mount", "-o", "remount,bind,ro", root)
            mount("tmp", "-t", "tmpfs", "-o", f"{TEMPORARY},mode=1777", "tmpfs")
        mount("proc", "-t", "proc", "proc")
        mount("sys", "-t", "sysfs", "-o", "ro", "sysfs")
        mount("dev", "-t", "tmpfs", "-o", "nosuid,mode=755,size=64k", "tmpfs")
        make_devices(root / "dev")
        mount("dev/shm", "-t", "tmpfs", "-o", f"{TEMPORARY},mode=1777,size=64m", "shm")
        mount("dev/pts", "-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts")
        for source, target in binds:
            make_target(root, source, target)
            mount(target, "--bind", source.resolve())
            call("mount", "-o", "remount,bind,ro", root / target.lstrip("/"))
        yield


def make_devices(folder: Path) -> None:
    """The devices that every container has."""
    for name in DEVICES:
        os.mknod(folder / name, stat.S_IFCHR, Path("/dev", name).stat().st_rdev)
        (folder / name).chmod(0o666)
    for name in ("shm", "pts"):
        (folder / name).mkdir()
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (folder / name).symlink_to(f"/proc/self/fd{target}")
    (folder / "ptmx").symlink_to("pts/ptmx")


def make_target(root: Path, source: Path, target: str) -> None:
    """Something that the source can be mounted on."""
    path = inside(root, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def inside(root: Path, path: str) -> Path:
    """Where a path of the root lies; symbolic links may not lead out of it."""
    found = (root / path.lstrip("/")).resolve()
    if not found.is_relative_to(root):
        raise ValueError(f"{path} leads out of {root}, to {found}")
    return found


def entry(root: Path, file: str, name: str) -> list[str]:
    """The row of a user or group, by name or number, of passwd or group."""
    for row in (root / "etc" / file).read_text().splitlines():
        fields = row.split(":")
        if name in (fields[0], fields[2]):
            return fields
    raise ValueError(f"/etc/{file} of the image has no {name}")


def owner_ids(root: Path, owner: str) -> tuple[int, int]:
    """Numbers of USER or USER:GROUP; as COPY has it, without a group both are the user's.

    Raises:
        ValueError: if there is no such user or group.
    """
    user, _, group = owner.partition(":")
    number = int(entry(root, "passwd", user)[2])
    return number, int(entry(root, "group", group)[2]) if group else number


def command_in(
    root: Path, place: Place, command: Sequence[str], restrictions: Sequence[str] = ()
) -> list[str]:
    """The words that run a command in the root, at a place, with nothing of this environment.

    Args:
        root: the folder.
        place: user, folder and environment.
        command: what is run.
        restrictions: options of setpriv.
    """
    row = entry(root, "passwd", place.user)
    environment = {"HOME": row[5], **place.environment}
    return [
        "chroot",
        str(root),
        "setpriv",
        f"--reuid={row[2]}",
        f"--regid={row[3]}",
        "--init-groups",
        *restrictions,
        "env",
        "-i",
        f"--chdir={place.folder}",
        *(f"{name}={value}" for name, value in environment.items()),
        *command,
    ]
