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
    return build_config(kind, _merged(values, given), where=f"{path} with --set" if given else str(path))


def override(config: Config, overrides: Iterable[str]) -> Config:
    """A copy of a config with `key=value` overrides applied; values are read as YAML."""
    values = TypeAdapter(type(config)).dump_python(config, mode="json")
    return build_config(type(config), _merged(values, overrides), where="--set")


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


def _merged(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    merged = dict(values)
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(
                f"{text!r} is not KEY=VALUE", "--set", "write for example --set clip_duration_s=120"
            )
        section = merged
        *parents, key = name.strip().split(".")
        for parent in parents:
            section[parent] = dict(section.get(parent) or {})
            section = section[parent]
        section[key] = yaml.safe_load(value)
    return merged


def _with_units(kind: Any, values: Any) -> Any:
    """Let `clip_duration` stand for `clip_duration_s`: a unit may be left out where it is not in doubt."""
    if not (dataclasses.is_dataclass(kind) and isinstance(values, Mapping)):
        return values
    fields = {field.name for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    spelled = {}
    for key, value in values.items():
        named = [f"{key}_{unit}" for unit in UNITS if f"{key}_{unit}" in fields]
        name = named[0] if key not in fields and len(named) == 1 else key
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
