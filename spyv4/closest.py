"""Names that nobody knows, and the one that was probably meant."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from spyv4.errors import ArgumentError

P = ParamSpec("P")
T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'dog'?` for the closest of `known`, or nothing where none is close.

    Args:
        name: what was said.
        known: what there is.
        prefix: what to put before the closest.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {prefix + close[0]!r}?" if close else ""


def class_labels(names: Iterable[str], class_names: Sequence[str]) -> list[int]:
    """Indices of classes.

    Raises:
        ArgumentError: if one is not there; names the closest.
    """
    for name in names:
        if name not in class_names:
            hint = did_you_mean(name, class_names) or f"; choose from {', '.join(class_names)}"
            raise ArgumentError(f"unknown class {name!r}{hint}")
    return [class_names.index(name) for name in names]


def names_closest(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, whose complaint about an unknown keyword names the closest that it has."""
    known = [name for name in inspect.signature(function).parameters if name != "cls"]

    @functools.wraps(function)
    def checked(*values: P.args, **named: P.kwargs) -> T:
        for name in named:
            if name not in known:
                hint = did_you_mean(name, known) or f"; it has {', '.join(known)}"
                raise ArgumentError(f"{function.__name__} has no argument {name!r}{hint}")
        return function(*values, **named)

    return checked
