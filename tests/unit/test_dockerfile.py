"""How the Dockerfile and the compose file are read, where no engine does it."""

from pathlib import Path

import pytest

from tests.load.image.reading import duration_s, read_recipe
from tests.load.image.recipe import PATH, Copy, MakeFolder, RecipeError, Run
from tests.load.image.serving import read_service

ROOT = Path(__file__).parents[2]

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
    # The first process takes signals from its first moment on, and the end by one is no failure.
    assert recipe.entrypoint[:4] == ("tini", "-e", "143", "--")
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
