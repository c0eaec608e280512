"""YAML as people write settings: plain values, numbers as in YAML 1.2, each key once.

PyYAML follows YAML 1.1, which reads `1e-4` as text and lets the last of two equal keys win.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

# Settings are a few hundred values; aliases of aliases ("billion laughs") would be unfolded when used.
MAX_VALUES = 100_000

FLOAT = re.compile(
    r"""^(?:
        [-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+
        |[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN)
    )$""",
    re.VERBOSE,
)


class YamlError(ValueError):
    """A text is not YAML of plain values; one line says why."""


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's floats, and without two equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # before merge keys (`<<`) are unfolded: a key of one's own may replace a merged one
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise YamlError(f"line {line}: {key.value} is set a second time")
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


# the loader's own table: a class attribute that is shared with SafeLoader would change it for everybody
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def parse_yaml(text: str) -> Any:
    """The plain value of one YAML document; None for an empty text.

    Raises:
        YamlError: it is no YAML, names a key twice, holds other than plain values, or unfolds without end.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise YamlError(_one_line(error)) from None
    except (ValueError, OverflowError) as error:  # a date such as 2023-99-99, a number of 5000 digits
        raise YamlError(str(error).splitlines()[0]) from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None
    _refuse_endless(value)
    return value


def _one_line(error: yaml.YAMLError) -> str:
    """`line 3: expected ',' or ']'`: PyYAML says it over several lines."""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)


def _refuse_endless(value: Any) -> None:
    """Aliases are shared in memory, and unfold to more than any machine holds when they are walked."""
    count, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            raise YamlError(f"it unfolds to more than {MAX_VALUES:,} values")
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set):
            waiting.extend(item)
