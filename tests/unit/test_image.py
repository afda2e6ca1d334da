"""How an image is built and run, where no engine does it."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.load.image.building import copy
from tests.load.image.reading import read_recipe
from tests.load.image.recipe import PATH, Health, RecipeError
from tests.load.image.root import command_in, inside, owner_ids
from tests.load.image.serving import end, wait_healthy

ROOT = Path(__file__).parents[2]
PASSWD = "root:x:0:0:root:/root:/bin/sh\nspike:x:1000:1001::/home/spike:/bin/sh\n"

MOUNTS = """
import sys
from pathlib import Path
from tests.load.image.root import leave_mounts, mounted

root, bound = Path(sys.argv[1]), Path(sys.argv[2])
leave_mounts()
with mounted(root, [(bound, "/etc/bound")]):
    assert (root / "etc" / "bound").read_text() == "bound"
    assert (root / "proc" / "self").exists()
    (root / "dev" / "null").write_text("gone")
    (root / "etc" / "new").touch()
with mounted(root, writable=["/kept"]):
    (root / "kept" / "new").touch()
    (root / "tmp" / "lost").touch()
    assert not (root / "etc" / "bound").read_text()
    try:
        (root / "etc" / "newer").touch()
    except OSError as error:
        print(error.strerror)
assert not (root / "tmp" / "lost").exists()
try:
    with mounted(root):
        print("mounts", Path("/proc/self/mounts").read_text().count(str(root)))
        raise KeyError
except KeyError:
    print("mounts", Path("/proc/self/mounts").read_text().count(str(root)))
with mounted(root):
    print("mounts left to the end", flush=True)
    __import__("os")._exit(7)
"""


def may_mount():
    """Whether this is a Linux where we are root, and not ourselves in a container."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    done = subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not may_mount(), reason="mounting is not allowed here")
def test_only_what_compose_says_can_be_written_and_nothing_stays_mounted(image, tmp_path):
    for name in ("proc", "sys", "dev", "tmp", "kept"):
        (image / name).mkdir()
    bound = tmp_path / "bound"
    bound.write_text("bound")
    # Mounts are passed on from here to whoever does not refuse them, and back, as under systemd.
    shared = [
        "unshare",
        "--mount",
        "--propagation",
        "shared",
        "sh",
        "-c",
        '"$@"; echo $?; mount',
        "",
    ]
    done = subprocess.run(
        [*shared, sys.executable, "-c", MOUNTS, image, bound],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = ["Read-only file system", "mounts 5", "mounts 0", "mounts left to the end", "7"]
    assert (done.stdout.splitlines()[:5], done.stderr) == (said, "")
    assert str(image) not in done.stdout
    assert sorted(path.name for path in (image / "etc").iterdir()) == [
        "bound",
        "group",
        "new",
        "passwd",
    ]
    assert [path.name for path in (image / "kept").iterdir()] == ["new"]
    assert not any((image / "dev").iterdir())


@pytest.fixture
def image(tmp_path):
    """A root with accounts, and nothing else."""
    root = (tmp_path / "root").resolve()
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text("root:x:0:\nsome:x:7:\n")
    return root


def test_accounts_are_the_images(image):
    assert owner_ids(image, "spike") == (1000, 1000)
    assert owner_ids(image, "spike:some") == (1000, 7)
    with pytest.raises(ValueError, match="of the image has no nobody"):
        owner_ids(image, "nobody")


def test_a_command_gets_the_images_environment_alone(image):
    place = read_recipe("FROM a\nUSER spike\nWORKDIR /srv\nENV A='b c'\n", {}).place
    words = command_in(image, place, ["id"], ["--no-new-privs"])
    assert words[:3] == ["chroot", str(image), "setpriv"]
    assert {"--reuid=1000", "--regid=1001", "--no-new-privs"} <= set(words[3:])
    after = words[words.index("env") :]
    assert after == ["env", "-i", "--chdir=/srv", "HOME=/home/spike", f"PATH={PATH}", "A=b c", "id"]


def test_nothing_leads_out_of_the_root(image):
    (image / "out").symlink_to("/etc")
    with pytest.raises(ValueError, match="leads out of"):
        inside(image, "/out/passwd")
    assert inside(image, "/etc/passwd") == image / "etc" / "passwd"


def test_what_is_ignored_is_not_copied(tmp_path, monkeypatch):
    context = (tmp_path / "context").resolve()
    for name in ("a/__pycache__/x.pyc", "a/b/kept.py", "build/out", "a/build/kept", "x.egg-info/y"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(name)
    (context / ".dockerignore").write_text("# what is made\nbuild\n**/__pycache__\n*.egg-info\n")
    (context / "a" / "link").symlink_to("b/kept.py")
    owners = []
    monkeypatch.setattr("os.chown", lambda path, *ids, **_: owners.append(ids))
    target = tmp_path / "target"
    assert copy(context, ".", target, (1000, 7)) == 4
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    assert found == {".dockerignore", "a/b/kept.py", "a/build/kept", "a/link"}
    assert (target / "a" / "link").is_symlink()
    assert set(owners) == {(1000, 7)}
    with pytest.raises(RecipeError, match="expected a folder of the context"):
        copy(context, "a/b/kept.py", target, (0, 0))


@contextmanager
def started(script):
    """A process, and below it one that has begun with a script for the shell."""
    command = ["sh", "-c", 'sh -c "$1"; exit $?', "sh", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline() == "ready\n"
            yield server
        finally:
            server.kill()


FOR_A_WHILE = "n=0; while [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="there is no /proc")
def test_the_end_is_in_peace_and_in_time():
    with started(f"trap 'exit 0' TERM; echo ready; {FOR_A_WHILE}") as server:
        assert end(server, 10.0)["end_s"] < 10
    with (
        started(f"trap 'exit 3' TERM; echo ready; {FOR_A_WHILE}") as server,
        pytest.raises(RuntimeError, match="its exit code is 3; expected 0"),
    ):
        end(server, 10.0)
    with (
        started(f"trap '' TERM; echo ready; {FOR_A_WHILE}") as server,
        pytest.raises(RuntimeError, match=r"did not end within 0\.2 s of SIGTERM"),
    ):
        end(server, 0.2)


def test_a_check_that_fails_or_hangs_is_asked_again_while_there_is_time(tmp_path):
    script = """
    if mkdir first; then exit 1; fi
    if mkdir second; then exec sleep 20; fi
    """
    check = ["sh", "-c", f"cd {tmp_path}; {script}"]
    with subprocess.Popen(["sleep", "60"]) as server:
        found = wait_healthy(check, Health((), 10.0, timeout_s=2.0, retries=3), server)
        assert found["checks"] == 3
        with pytest.raises(RuntimeError, match="not healthy after 1 checks"):
            wait_healthy(["false"], Health((), interval_s=0.5, retries=1), server)
        server.kill()
    with pytest.raises(RuntimeError, match="not healthy after 0 checks"):
        wait_healthy(["true"], Health(()), server)
