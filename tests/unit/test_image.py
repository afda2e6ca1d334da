"""How the Dockerfile and the compose file are read, where no engine does it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.load.image.building import copy
from tests.load.image.reading import duration_s, read_recipe
from tests.load.image.recipe import PATH, Copy, MakeFolder, RecipeError, Run
from tests.load.image.root import command_in, inside, owner_ids
from tests.load.image.serving import read_service

ROOT = Path(__file__).parents[2]
PASSWD = "root:x:0:0:root:/root:/bin/sh\nspike:x:1000:1001::/home/spike:/bin/sh\n"

SMALL = r"""
# A comment, and an ARG of the whole file.
ARG DEVICE=cpu
ARG VERSION=1
FROM debian:$VERSION AS base
ENV A=one B="two  words"
FROM base AS cpu
ENV KIND=c
FROM base AS cuda
RUN echo never
FROM ${DEVICE}
ARG INDEX=
ARG VERSION
ARG MIRROR=${INDEX:-none}
RUN echo a \
    # in between

    && echo "${INDEX:+--index "$INDEX"}"
USER spike
WORKDIR /srv
WORKDIR app
COPY --chown=spike:spike . sub/
ENV C=$A-${MISSING:-no} KIND='$A'
RUN ["touch", "$A"]
EXPOSE 8000 9000/tcp
HEALTHCHECK --interval=1m30s --retries=5 CMD ["true", "a b"]
ENTRYPOINT exec serve
"""


def test_stages_words_and_places_are_as_in_an_engine():
    recipe = read_recipe(SMALL, {"INDEX": "file:///x", "VERSION": "12"})
    assert recipe.base == "debian:12"
    shell, first, second, copied, listed = recipe.steps
    assert shell.command[:2] == ("/bin/sh", "-c")
    # The shell gets its line as it is, save for the line ends and comments.
    assert " ".join(shell.command[2].split()) == ('echo a && echo "${INDEX:+--index "$INDEX"}"')
    assert shell.place.environment == {
        "PATH": PATH,
        "A": "one",
        "B": "two  words",
        "KIND": "c",
        "INDEX": "file:///x",
        "VERSION": "12",
        "MIRROR": "file:///x",
    }
    assert (shell.place.user, shell.place.folder, shell.line) == ("root", "/", 15)
    assert [first, second] == [MakeFolder(20, "/srv"), MakeFolder(21, "/srv/app")]
    assert copied == Copy(22, ".", "/srv/app/sub", "spike:spike")
    assert listed.command == ("touch", "$A")
    assert (listed.place.user, listed.place.folder) == ("spike", "/srv/app")
    # Build arguments end with the build.
    assert recipe.place.environment == {
        "PATH": PATH,
        "A": "one",
        "B": "two  words",
        "KIND": "$A",
        "C": "one-no",
    }
    assert recipe.ports == ("8000", "9000/tcp")
    assert recipe.entrypoint == ("/bin/sh", "-c", "exec serve")
    health = recipe.health
    assert (health.command, health.interval_s, health.retries) == (("true", "a b"), 90.0, 5)
    assert (health.timeout_s, health.start_period_s) == (30.0, 0.0)


def test_another_stage_is_chosen_by_a_build_argument():
    recipe = read_recipe(SMALL, {"DEVICE": "cuda"})
    assert recipe.base == "debian:1"
    assert recipe.steps[0].command[-1] == "echo never"
    arguments = recipe.steps[1].place.environment
    assert (arguments["MIRROR"], arguments["VERSION"]) == ("none", "1")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("STRANGE x", "unknown instruction: STRANGE"),
        ("VOLUME /data", "line 2, 'VOLUME /data': it is not known here"),
        ("RUN --mount=type=cache,target=/x true", "the flag --mount is not known"),
        ("COPY --from=a . .", "the flag --from is not known"),
        ("COPY a b c", "only one folder"),
        ("RUN <<E\ntrue\nE", "here documents"),
        ("USER a:b", "a group beside the user"),
        ("USER", "something must follow"),
        ("HEALTHCHECK NONE", "expected HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=soon CMD true", "a duration must be like"),
        ("FROM a b", "expected FROM IMAGE"),
        ("FROM --platform=linux/arm64 a", "the flag --platform is not known"),
    ],
)
def test_what_is_not_known_is_refused(line, reason):
    with pytest.raises(RecipeError, match=reason):
        read_recipe(f"FROM a\n{line}\n", {})


def test_a_file_without_stages_and_a_stray_argument_are_refused():
    with pytest.raises(RecipeError, match="needs a FROM"):
        read_recipe("ARG A=1\n", {})
    with pytest.raises(RecipeError, match="line 1, 'ENV A=1': it is not known here; known are ARG"):
        read_recipe("ENV A=1\nFROM a\n", {})
    with pytest.raises(RecipeError, match=r"build argument B is declared by no ARG; .*'A'"):
        read_recipe("ARG A=1\nFROM a\n", {"B": "2"})


def test_durations():
    assert [duration_s(text) for text in ("15s", "1m30s", "500ms", "1.5h")] == [15, 90, 0.5, 5400]
    for wrong in ("", "15", "s", "1m 3s"):
        with pytest.raises(RecipeError, match="a duration must be"):
            duration_s(wrong)


def test_our_dockerfile_and_compose_file_are_understood():
    recipe = read_recipe((ROOT / "Dockerfile").read_text(), {"TORCH_INDEX": "file:///torch"})
    runs = [step for step in recipe.steps if isinstance(step, Run)]
    assert [run.place.user for run in runs] == ["root", "root", "spyv4"]
    assert runs[-1].place.environment["TORCH_INDEX"] == "file:///torch"
    assert recipe.place.environment["CUDA_VISIBLE_DEVICES"] == ""
    # The first process must take signals from its first moment on.
    assert recipe.entrypoint[:2] == ("tini", "--")
    assert " tini " in runs[0].command[-1]
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    service = read_service(text, {"SPYV4_API_KEY": "secret"})
    assert service.environment == {"SPYV4_API_KEY": "secret", "SPYV4_SOURCE": "none"}
    assert service.writable == ("/home/spyv4/.cache",)
    assert "--no-new-privs" in service.restrictions
    with pytest.raises(ValueError, match="must be set"):
        read_service(text, {})
    with pytest.raises(RecipeError, match="privileged of the compose file is not known"):
        read_service(
            text.replace("read_only: true", "read_only: true\n    privileged: true"),
            {"SPYV4_API_KEY": "secret"},
        )
    with pytest.raises(RecipeError, match="cap_drop CHOWN is not known here"):
        read_service(text.replace("[ALL]", "[CHOWN]"), {"SPYV4_API_KEY": "secret"})


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
