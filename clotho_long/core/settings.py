"""Settings: frozen dataclasses from YAML and `key=value` overrides, and a clear word on every mistake.

A class of settings may carry a table `RENAMED`, old dotted key -> new one: files, overrides and checkpoints
of earlier versions then keep their meaning.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from clotho_long.core.errors import ConfigError
from clotho_long.core.yaml_reader import YamlError, parse_yaml

Config = TypeVar("Config")

UNITS = ("s", "db", "hz")
SET_OPTION = "--set"
MAX_CHARACTERS = 1 << 20  # of a file of settings
LARGEST = 1e12  # of any setting: what is above is a slip of the finger
MAX_SHOWN = 60  # characters of a wrong value that a message repeats


def load_config(kind: type[Config], path: Path | str, overrides: Iterable[str] = ()) -> Config:
    """Read `kind` from a YAML file, then apply `key=value` overrides (dots reach into sections).

    Raises:
        ConfigError: the file is unreadable, or a key is unknown, missing, twice there or of the wrong type.
    """
    values = read_settings(Path(path))
    given = list(overrides)
    if not given:
        return build_config(kind, values, where=str(path))
    try:
        return build_config(kind, _merged(kind, values, given), where=SET_OPTION)
    except ConfigError:
        build_config(kind, values, where=str(path))  # the file's own faults are said as the file's
        raise


def read_settings(path: Path) -> dict[str, Any]:
    """The plain values in a YAML file; an empty file has none.

    Raises:
        ConfigError: it cannot be read, or is no mapping.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MAX_CHARACTERS + 1)  # a device such as /dev/zero has no end
        if len(text) > MAX_CHARACTERS:
            raise ConfigError("is too large for settings", path, "check the file")
        values = parse_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"cannot be read ({reason})", path, "check the file") from None
    except YamlError as error:
        raise ConfigError(f"cannot be read as YAML ({error})", path, "check the file") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError("is not a mapping of settings", path, "write `key: value` lines")
    return values


def override(config: Config, overrides: Iterable[str]) -> Config:
    """A copy of a config with `key=value` overrides applied; values are read as YAML.

    Raises:
        ConfigError: an override is not KEY=VALUE, or its key or value does not fit.
    """
    kind = type(config)
    values = _adapter(kind).dump_python(config, mode="json")
    return build_config(kind, _merged(kind, values, overrides), where=SET_OPTION)


def keys_of(kind: Any, overrides: Iterable[str]) -> list[str]:
    """The full dotted names of the settings that overrides concern, for checks of what is allowed."""
    return [name for name, _ in (_split(kind, text) for text in overrides)]


def build_over(base: Config, values: Mapping[str, Any], *, where: str) -> Config:
    """A copy of a config with plain values over it, section by section.

    Raises:
        ConfigError: as `build_config`.
    """
    kind = type(base)
    own = _with_units(kind, _renamed(kind, values, where), where)
    _refuse_unknown_keys(kind, own, where)
    return build_config(kind, _laid_over(to_plain(base), own, kind), where=where)


def build_config(kind: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Build `kind` from plain values, strictly: no unknown key, no value of another type.

    Raises:
        ConfigError: a key is unknown, missing or twice there, or a value of the wrong type or out of range.
    """
    values = _with_units(kind, _renamed(kind, values, where), where)
    _refuse_unknown_keys(kind, values, where)
    _refuse_infinite(values, where)
    try:
        # strict JSON: a list may become a tuple, but a text does not become a number
        built: Config = _adapter(kind).validate_json(json.dumps(values, default=str), strict=True)
        return built
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise ConfigError(f"{key} is missing", where, "add it") from None
        problem = f"{first['msg']}, got {shown(first['input'])}"
        raise ConfigError(f"{key or 'settings'}: {problem}", where) from None
    except ConfigError as error:  # of a class that checks itself, and does not know where its values stand
        raise ConfigError(error.problem, error.where or where, error.fix) from None


def to_plain(config: Any) -> dict[str, Any]:
    """The config as JSON-like values, for saving beside a result."""
    plain: dict[str, Any] = _adapter(type(config)).dump_python(config, mode="json")
    return plain


def shown(value: Any) -> str:
    """A value in a message: as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def require_range(
    settings: Any, names: Iterable[str], *, low: float = 0.0, high: float = LARGEST, above: bool = False
) -> None:
    """Refuse settings outside [low, high] (above: outside (low, high]); None passes as no limit.

    Raises:
        ConfigError: one of them is outside.
    """
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if not (low < value if above else low <= value):
            raise ConfigError(
                f"{name} must be {'above' if above else 'at least'} {low:g}, got {shown(value)}"
            )
        if value > high:
            raise ConfigError(f"{name} must be at most {high:g}, got {shown(value)}")


def _split(kind: Any, text: str) -> tuple[str, Any]:
    """An override as the full dotted name of today and its value."""
    name, equals, value = text.partition("=")
    parts = [part.strip() for part in name.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"{shown(text)} is not KEY=VALUE", SET_OPTION, "write for example --set seed=7")
    try:
        parsed = parse_yaml(value)
    except YamlError as error:
        raise ConfigError(
            f"the value of {'.'.join(parts)} cannot be read ({error})", SET_OPTION, "write it as in YAML"
        ) from None
    full = []
    for part in _rename(kind, ".".join(parts)).split("."):
        full.append(_full_name(kind, part))
        kind = _field_kinds(kind).get(full[-1])
    return ".".join(full), parsed


def _merged(kind: Any, values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    merged: dict[str, Any] = _with_units(kind, _renamed(kind, values, SET_OPTION), SET_OPTION)
    given: dict[str, str] = {}  # setting -> how it was spelt
    for text in overrides:
        name, value = _split(kind, text)
        spelt = text.partition("=")[0].strip()
        if given.setdefault(name, spelt) != spelt:
            raise ConfigError(
                f"{name} is given twice, as {given[name]} and {spelt}", SET_OPTION, "give it once"
            )
        section, section_kind = merged, kind
        *parents, key = name.split(".")
        for depth, parent in enumerate(parents, start=1):
            section_kind = _field_kinds(section_kind).get(parent)
            below = section.get(parent)
            if not isinstance(below, Mapping) and not (
                below is None and dataclasses.is_dataclass(section_kind)
            ):
                above = ".".join(parents[:depth])
                known = parent in section or section_kind is not None
                problem = f"{above} has no parts, so no {key}" if known else f"unknown setting {above}"
                raise ConfigError(problem, SET_OPTION, _known(kind, parents[: depth - 1], parent))
            section[parent] = dict(below or {})
            section = section[parent]
        section[key] = value
    return merged


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    laid = dict(below)
    for key, value in above.items():
        section = _field_kinds(kind)[key]
        both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        laid[key] = (
            _laid_over(below[key], value, section) if both and dataclasses.is_dataclass(section) else value
        )
    return laid


def _known(kind: Any, parents: Iterable[str], key: str) -> str:
    """What to write instead of a key that is not there."""
    for parent in parents:
        kind = _field_kinds(kind).get(parent)
    fields = [*_field_kinds(kind)]
    prefix = "".join(f"{parent}." for parent in parents)
    if key in fields:
        return f"write {prefix}{key}=VALUE"
    near = difflib.get_close_matches(key, fields, n=1)
    return f"did you mean {prefix}{near[0]}?" if near else f"known settings: {', '.join(fields)}"


def _rename(kind: Any, name: str) -> str:
    """Today's dotted name of a setting."""
    renamed: Mapping[str, str] = getattr(kind, "RENAMED", {})
    return renamed.get(name, name)


def _renamed(kind: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values with the keys of earlier versions under their names of today."""
    moved: dict[str, Any] = dict(values)
    for old, new in getattr(kind, "RENAMED", {}).items():
        *parents, key = old.split(".")
        section = _section(moved, parents, create=False)
        if section is None or key not in section:
            continue
        value = section.pop(key)
        *parents, key = new.split(".")
        target = _section(moved, parents, create=True)
        if target is None or key in target:
            raise ConfigError(f"{old} is now called {new}, and both are given", where, f"remove {old}")
        target[key] = value
    return moved


def _section(values: dict[str, Any], parents: Iterable[str], *, create: bool) -> dict[str, Any] | None:
    """The section of these names as a dict that may be changed; None if there is none."""
    for parent in parents:
        below = values.get(parent, {} if create else None)
        if not isinstance(below, Mapping):
            return None
        values[parent] = dict(below)
        values = values[parent]
    return values


def _with_units(kind: Any, values: Any, where: str) -> Any:
    """Let `clip_duration` stand for `clip_duration_s`: a unit may be left out where it is not in doubt."""
    if not (dataclasses.is_dataclass(kind) and isinstance(values, Mapping)):
        return values
    kinds = _field_kinds(kind)
    spelled: dict[Any, Any] = {}
    for key, value in values.items():
        name = _full_name(kind, key)
        if name in spelled:
            raise ConfigError(
                f"{key} and {name} are one setting, and both are given", where, "keep one of them"
            )
        spelled[name] = _with_units(kinds.get(name), value, where)
    return spelled


def _full_name(kind: Any, key: Any) -> Any:
    """The name of a setting that was written with or without its unit."""
    fields = _field_kinds(kind)
    named = [f"{key}_{unit}" for unit in UNITS if f"{key}_{unit}" in fields]
    return named[0] if key not in fields and len(named) == 1 else key


def _field_kinds(kind: Any) -> dict[str, Any]:
    """Field -> its type, of a settings class; of `Section | None` the section. Empty for anything else."""
    is_section = dataclasses.is_dataclass(kind)
    return _hints(kind) if is_section else {}


def _own_hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: _sole_section(hints[field.name]) for field in dataclasses.fields(kind)}


# called for every setting of every record
_hints: Callable[[Any], dict[str, Any]] = functools.cache(_own_hints)
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


def _sole_section(hint: Any) -> Any:
    sections = [part for part in typing.get_args(hint) if dataclasses.is_dataclass(part)]
    is_union = typing.get_origin(hint) is not None and type(None) in typing.get_args(hint)
    return sections[0] if is_union and len(sections) == 1 else hint


def _refuse_unknown_keys(kind: Any, values: Any, where: str, parents: tuple[str, ...] = ()) -> None:
    if not (dataclasses.is_dataclass(kind) and isinstance(values, Mapping)):
        return
    kinds = _field_kinds(kind)
    for key, value in values.items():
        name = ".".join((*parents, str(key)))
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=1)
            fix = (
                f"did you mean {'.'.join((*parents, near[0]))}?"
                if near
                else f"known settings: {', '.join(kinds)}"
            )
            raise ConfigError(f"unknown setting {name}", where, fix)
        _refuse_unknown_keys(kinds[key], value, where, (*parents, str(key)))


def _refuse_infinite(value: Any, where: str, name: str = "settings") -> None:
    """No setting is infinite or not a number, whatever its range."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name}: {value} is not a finite number", where)
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_infinite(item, where, str(key) if name == "settings" else f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_infinite(item, where, name)
