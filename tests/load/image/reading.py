"""Reads a Dockerfile.

Lines, words and variables are read as BuildKit reads them, by a port of its parser. What each
instruction does is said here, for those that our Dockerfile uses; any other instruction or flag is
an error, never skipped.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from e2b_dockerfile_utils import DockerfileInstruction, ShellLex, parse_dockerfile_ast

from tests.load.image.recipe import Copy, Health, MakeFolder, Recipe, RecipeError, Run

FLAGS = {"COPY": {"chown"}, "HEALTHCHECK": {"interval", "timeout", "start-period", "retries"}}
SHELL = ("/bin/sh", "-c")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_recipe(text: str, build_args: Mapping[str, str]) -> Recipe:
    """What the last stage of a Dockerfile says, and the stages that it is made of.

    Args:
        text: of the file.
        build_args: values of its ARGs in place of their defaults.

    Raises:
        RecipeError: for an instruction, flag or form that is not known here, and for a build
            argument that no ARG declares.
    """
    try:
        parsed = parse_dockerfile_ast(text)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    instructions = parsed.instructions
    declared = {word.partition("=")[0] for i in instructions if i.name == "ARG" for word in i.args}
    if unknown := set(build_args) - declared:
        raise RecipeError(
            f"build argument {min(unknown)} is declared by no ARG; known: {sorted(declared)}"
        )
    starts = [number for number, each in enumerate(instructions) if each.name == "FROM"]
    if not starts:
        raise RecipeError("a Dockerfile needs a FROM; there is none")
    header = _Reader(Recipe(""), parsed.escape_token, build_args, {})
    header.read(instructions[: starts[0]], only={"ARG"})
    chains: dict[str, tuple[str, list[Sequence[DockerfileInstruction]]]] = {}
    for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
        image, name = _start(instructions[start], header)
        base, before = chains.get(image.lower(), (image, []))
        chain = (base, [*before, instructions[start + 1 : end]])
        if name:
            chains[name.lower()] = chain
    recipe = Recipe(chain[0])
    for stage in chain[1]:
        reader = _Reader(recipe, parsed.escape_token, build_args, header.args)
        reader.read(stage)
        recipe = reader.recipe
    return recipe


def _start(instruction: DockerfileInstruction, header: "_Reader") -> tuple[str, str]:
    """Image and name of a stage; no name is ''."""
    header.check(instruction)
    match instruction.args:
        case [image]:
            return header.expand(image), ""
        case [image, word, name] if word.upper() == "AS":
            return header.expand(image), name
    raise _wrong(instruction, "expected FROM IMAGE or FROM IMAGE AS NAME")


def _wrong(instruction: DockerfileInstruction, reason: str) -> RecipeError:
    return RecipeError(f"line {instruction.start_line}, {instruction.original!r}: {reason}")


class _Reader:
    """Reads one stage.

    Args:
        recipe: what came before.
        escape: the file's escape character.
        build_args: values in place of defaults.
        outer: the ARGs before the first FROM, which count where a stage declares them again.
    """

    def __init__(
        self, recipe: Recipe, escape: str, build_args: Mapping[str, str], outer: Mapping[str, str]
    ) -> None:
        self.recipe, self.args = recipe, dict[str, str]()
        self._escape, self._build_args, self._outer = escape, build_args, outer
        self._known = {
            "ARG": self._arg,
            "COPY": self._copy,
            "ENTRYPOINT": self._entrypoint,
            "ENV": self._env,
            "EXPOSE": self._expose,
            "HEALTHCHECK": self._healthcheck,
            "RUN": self._run,
            "USER": self._user,
            "WORKDIR": self._workdir,
        }

    def read(self, instructions: Sequence[DockerfileInstruction], only: set[str] | None = None):
        """Take instructions up, one after the other."""
        for instruction in instructions:
            known = sorted(only or self._known)
            if instruction.name not in known:
                raise _wrong(instruction, f"it is not known here; known are {', '.join(known)}")
            self.check(instruction)
            self._known[instruction.name](instruction)

    def check(self, instruction: DockerfileInstruction) -> None:
        """Refuse flags that are not known, here documents, and instructions without words."""
        known = FLAGS.get(instruction.name, set())
        if strange := set(self._flags(instruction)) - known:
            raise _wrong(instruction, f"the flag --{min(strange)} is not known here")
        if instruction.heredocs:
            raise _wrong(instruction, "here documents are not known here")
        if not instruction.args:
            raise _wrong(instruction, "something must follow")

    def expand(self, word: str) -> str:
        """A word without its quotes, and with what its variables stand for."""
        names = self.args | self.recipe.place.environment
        return ShellLex(self._escape, env=names, skip_unset_env=False).process_word(word)

    def _flags(self, instruction: DockerfileInstruction) -> dict[str, str]:
        pairs = (flag.removeprefix("--").partition("=") for flag in instruction.flags)
        return {name: self.expand(value) for name, _, value in pairs}

    def _one(self, instruction: DockerfileInstruction) -> str:
        """The only word."""
        if len(instruction.args) != 1:
            raise _wrong(instruction, f"expected one word, got {len(instruction.args)}")
        return self.expand(instruction.args[0])

    def _add(self, step: Run | Copy | MakeFolder) -> None:
        self.recipe = replace(self.recipe, steps=(*self.recipe.steps, step))

    def _move(self, **changes: object) -> None:
        self.recipe = replace(self.recipe, place=replace(self.recipe.place, **changes))

    def _arg(self, instruction: DockerfileInstruction) -> None:
        for word in instruction.args:
            name, equals, default = word.partition("=")
            if name in self._build_args:
                self.args[name] = self._build_args[name]
            elif equals:
                self.args[name] = self.expand(default)
            elif name in self._outer:
                self.args[name] = self._outer[name]

    def _env(self, instruction: DockerfileInstruction) -> None:
        words = iter(instruction.args)  # name, value and what stood between them
        pairs = {
            self.expand(name): self.expand(value)
            for name, value, _ in zip(words, words, words, strict=True)
        }
        self._move(environment={**self.recipe.place.environment, **pairs})

    def _user(self, instruction: DockerfileInstruction) -> None:
        user = self._one(instruction)
        if ":" in user:
            raise _wrong(instruction, "a group beside the user is not known here")
        self._move(user=user)

    def _workdir(self, instruction: DockerfileInstruction) -> None:
        folder = self._absolute(self._one(instruction))
        self._move(folder=folder)
        self._add(MakeFolder(instruction.start_line, folder))

    def _absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.recipe.place.folder, path))

    def _run(self, instruction: DockerfileInstruction) -> None:
        place = self.recipe.place
        place = replace(place, environment={**self.args, **place.environment})
        self._add(Run(instruction.start_line, place, self._command(instruction)))

    def _command(self, instruction: DockerfileInstruction) -> tuple[str, ...]:
        """What is started: the words of a list, or a line for the shell."""
        if instruction.json:
            return tuple(instruction.args)
        return (*SHELL, self._line(instruction))

    def _line(self, instruction: DockerfileInstruction) -> str:
        if len(instruction.args) != 1:
            raise _wrong(instruction, "expected a list or a line for the shell")
        return instruction.args[0]

    def _copy(self, instruction: DockerfileInstruction) -> None:
        match instruction.args:
            case [source, target]:
                source, target = self.expand(source), self._absolute(self.expand(target))
            case _:
                raise _wrong(instruction, "only one folder with its target is known here")
        owner = self._flags(instruction).get("chown", "root")
        self._add(Copy(instruction.start_line, source, target, owner))

    def _expose(self, instruction: DockerfileInstruction) -> None:
        ports = tuple(self.expand(word) for word in instruction.args)
        self.recipe = replace(self.recipe, ports=(*self.recipe.ports, *ports))

    def _entrypoint(self, instruction: DockerfileInstruction) -> None:
        self.recipe = replace(self.recipe, entrypoint=self._command(instruction))

    def _healthcheck(self, instruction: DockerfileInstruction) -> None:
        kind, *command = instruction.args
        if kind.upper() != "CMD" or not command:
            raise _wrong(instruction, "expected HEALTHCHECK CMD and a command")
        words = tuple(command) if instruction.json else (*SHELL, " ".join(command))
        flags = self._flags(instruction)
        health = Health(words, retries=int(flags.pop("retries", Health.retries)))
        for name, text in flags.items():
            seconds = {f"{name.replace('-', '_')}_s": duration_s(text)}
            health = replace(health, **seconds)
        self.recipe = replace(self.recipe, health=health)


def duration_s(text: str) -> float:
    """Seconds of a duration such as 1m30s.

    Raises:
        RecipeError: if it is none.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise RecipeError(f"a duration must be like 1m30s, got {text!r}")
    return sum(float(number) * UNITS_S[unit] for number, unit in parts)
