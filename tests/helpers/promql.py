"""What an expression of PromQL selects, by the parser of `promql-parser`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import promql_parser
from promql_parser import AggregateExpr, BinaryExpr, MatchOp, VectorSelector

Labels = Mapping[str, str]
Matchers = tuple[tuple[str, MatchOp, str], ...]
"""Label, how it is compared, and with what."""


@dataclass
class Asked:
    """What an expression asks for.

    Attributes:
        series: names with the matchers of their labels.
        labels: that it groups by or compares on.
    """

    series: list[tuple[str, Matchers]] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)


def asked(expression: str) -> Asked:
    """Parse an expression.

    Raises:
        ValueError: it is not valid.
    """
    found = Asked()

    def visit(node: Any) -> bool:
        if isinstance(node, VectorSelector):
            matchers = [(each.name, each.op, each.value) for each in node.matchers.matchers]
            found.series.append((node.name, tuple(matchers)))
        elif isinstance(node, (AggregateExpr, BinaryExpr)) and node.modifier is not None:
            found.labels.update(_labels(node.modifier))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def _labels(modifier: Any) -> Iterator[str]:
    matching = getattr(modifier, "matching", modifier)
    if matching is not None:
        yield from matching.labels


def finds(series: tuple[str, Matchers], name: str, labels: Labels) -> bool:
    """Whether a sample is one that is asked for."""
    wanted, matchers = series
    return wanted == name and all(
        _matches(labels.get(label, ""), op, value) for label, op, value in matchers
    )


def _matches(said: str, op: MatchOp, value: str) -> bool:
    if op in (MatchOp.Equal, MatchOp.NotEqual):
        return (said == value) is (op == MatchOp.Equal)
    return (re.fullmatch(value, said) is not None) is (op == MatchOp.Re)
