"""Configurations: frozen dataclasses that pydantic validates, whose errors are one line."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass

from spyv4.closest import did_you_mean
from spyv4.errors import ConfigError

T = TypeVar("T")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]

_RULES = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def configuration(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass whose values are checked against their types when built.

    What a field's type does not say is checked in `__post_init__`. Unknown names, values of
    another type and values out of range raise `ConfigError`.
    """
    built = validated_dataclass(frozen=True, config=_RULES)(cls)
    plain = built.__init__

    @functools.wraps(plain)
    def initialise(self: Any, *values: Any, **named: Any) -> None:
        try:
            plain(self, *values, **named)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls, {})) from None

    built.__init__ = initialise  # type: ignore[method-assign]
    return built  # type: ignore[return-value]


def to_mapping(config: Any) -> dict[str, Any]:
    """A configuration as plain values, ready for JSON."""
    return dataclasses.asdict(config)


def from_mapping(
    cls: type[T], values: Mapping[str, Any], names: Mapping[str, str] = MappingProxyType({})
) -> T:
    """Build the configuration `cls` from plain values (JSON, TOML).

    Args:
        cls: the configuration.
        values: by key.
        names: what people know a key by, where errors are to name it otherwise.

    Raises:
        ConfigError: for an unknown key (with the closest known one) or a value that is not right.
    """
    require(isinstance(values, Mapping), f"a configuration must be a table of values, not {values}")
    try:
        # As JSON, where a list is a tuple and a whole number a float, but nothing else converts.
        return TypeAdapter(cls).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(_explain(error, cls, names)) from None


def _explain(error: ValidationError, cls: type, names: Mapping[str, str]) -> str:
    """All that pydantic found, in one line that names the keys."""
    return "; ".join(_finding(item, cls, names) for item in error.errors(include_url=False))


def _finding(item: Any, cls: type, names: Mapping[str, str]) -> str:
    """One finding: the key, what was expected, and what came."""
    path = [str(step) for step in item["loc"]]
    key = ".".join(path)
    where = names.get(key, key)
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner: Any = cls
        for step in path[:-1]:
            table = dataclasses.is_dataclass(owner)
            owner = get_type_hints(owner)[step] if table else get_args(owner)[0]
        known = [field.name for field in dataclasses.fields(owner)]
        prefix = "".join(f"{step}." for step in path[:-1])
        return f"unknown configuration key {key!r}{did_you_mean(path[-1], known, prefix)}"
    if item["type"] == "missing":
        return f"{where} is missing"
    if item["type"] == "dataclass_type":
        return f"{where} must be a table of values, not {item['input']!r}"
    _, _, rule = item["msg"].partition(" should ")
    rule = rule.replace(" after validation", "") or item["msg"]
    for theirs, ours in (
        ("greater than or equal to", "at least"),
        ("less than or equal to", "at most"),
    ):
        rule = rule.replace(theirs, ours)
    came = "" if ", not " in rule else f", not {item['input']!r}"
    return f"{where} must {rule}{came}"
