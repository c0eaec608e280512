"""Settings: frozen dataclasses from YAML and `key=value` overrides, and a clear word on every mistake."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from clotho_long.core.errors import ConfigError

Config = TypeVar("Config")

UNITS = ("s", "db", "hz")


def load_config(kind: type[Config], path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read `kind` from a YAML file, then apply `key=value` overrides (dots reach into sections).

    Raises:
        ConfigError: the file is unreadable, or a key is unknown, missing or of the wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot be read as YAML ({str(error).splitlines()[0]})", path, "check the file"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError("is not a mapping of settings", path, "write `key: value` lines")
    given = list(overrides)
    return build_config(
        kind, _merged(kind, values, given), where=f"{path} with --set" if given else str(path)
    )


def override(config: Config, overrides: Iterable[str]) -> Config:
    """A copy of a config with `key=value` overrides applied; values are read as YAML."""
    values = TypeAdapter(type(config)).dump_python(config, mode="json")
    return build_config(type(config), _merged(type(config), values, overrides), where="--set")


def build_config(kind: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Build `kind` from plain values, strictly: no unknown key, no value of another type."""
    values = _with_units(kind, values)
    _refuse_unknown_keys(kind, values, where)
    try:
        # strict JSON: a list may become a tuple, but the text "1e-4" does not become a number
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key or 'settings'}: {first['msg']}, got {first['input']!r}", where) from None


def to_plain(config: Any) -> dict[str, Any]:
    """The config as JSON-like values, for saving beside a result."""
    plain: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return plain


def _merged(kind: Any, values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    merged: dict[str, Any] = dict(_with_units(kind, values))
    given: dict[str, str] = {}  # setting -> how it was spelt
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(
                f"{text!r} is not KEY=VALUE", "--set", "write for example --set clip_duration_s=120"
            )
        spelt = name.strip()
        full = _full_name(kind, spelt)
        if given.setdefault(full, spelt) != spelt:
            raise ConfigError(f"{full} is given twice, as {given[full]} and {spelt}", "--set", "give it once")
        section = merged
        *parents, key = full.split(".")
        for parent in parents:
            section[parent] = dict(section.get(parent) or {})
            section = section[parent]
        section[key] = yaml.safe_load(value)
    return merged


def _full_name(kind: Any, name: str) -> str:
    """`gap.mean` -> `gap_s.mean`: the name with the units that were left out."""
    key, dot, rest = name.partition(".")
    if not dataclasses.is_dataclass(kind):
        return name
    full = _with_unit(key, {field.name for field in dataclasses.fields(kind)})
    return f"{full}.{_full_name(typing.get_type_hints(kind).get(full), rest)}" if dot else full


def _with_unit(key: str, fields: set[str]) -> str:
    named = [f"{key}_{unit}" for unit in UNITS if f"{key}_{unit}" in fields]
    return named[0] if key not in fields and len(named) == 1 else key


def _with_units(kind: Any, values: Any) -> Any:
    """Let `clip_duration` stand for `clip_duration_s`: a unit may be left out where it is not in doubt."""
    if not (dataclasses.is_dataclass(kind) and isinstance(values, Mapping)):
        return values
    fields = {field.name for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    spelled = {}
    for key, value in values.items():
        name = _with_unit(key, fields)
        if name in spelled:
            raise ConfigError(f"{name} is given twice, with and without its unit", fix="give it once")
        spelled[name] = _with_units(hints.get(name), value)
    return spelled


def _refuse_unknown_keys(kind: Any, values: Any, where: str, prefix: str = "") -> None:
    if not (dataclasses.is_dataclass(kind) and isinstance(values, Mapping)):
        return
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            fix = f"did you mean {prefix}{near[0]}?" if near else f"known settings: {', '.join(fields)}"
            raise ConfigError(f"unknown setting {prefix}{key}", where, fix)
        _refuse_unknown_keys(hints.get(key), value, where, f"{prefix}{key}.")
