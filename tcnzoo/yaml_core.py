"""YAML by the core schema of version 1.2, without twin keys.

`yes`, `20:30` and dates are text, `010` is ten, `1e-5` is a number; PyYAML by itself reads version
1.1, where they are true, 1230, a date, eight and text. `<<` merges mappings as in 1.1.

Source: YAML 1.2.2, section 10.3.2.
"""

import re
from typing import Any

import yaml

from tcnzoo.documents import MOST_IN_YAML, check_digits, cut

MERGE = "tag:yaml.org,2002:merge"


def load(text: str) -> Any:
    """Read a document; nothing but plain values is ever made.

    Raises:
        ValueError: not YAML, or a key that stands twice; one line, with the place.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(_sentence(error)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader by the core schema of YAML 1.2, without twin keys."""

    # What PyYAML has for the words and numbers of YAML 1.1 is not inherited.
    yaml_implicit_resolvers: dict[str | None, list[tuple[str, Any]]] = {}

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that stands twice."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], Any] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            twin = first.setdefault((key.tag, key.value), key)
            if twin is not key:
                lines = [one.start_mark.line + 1 for one in (twin, key)]
                raise yaml.composer.ComposerError(
                    None,
                    None,
                    f"the key {cut(key.value)!r} stands twice, in line {lines[0]} and line "
                    f"{lines[1]}",
                    key.start_mark,
                )
        return node

    def flatten_mapping(self, node: Any) -> None:
        """Merge what `<<` names, which could multiply from mapping to mapping."""
        entries = 0
        for key, value in node.value:
            if key.tag == MERGE:
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in parts:
                    if isinstance(part, yaml.MappingNode):
                        self.flatten_mapping(part)
                    entries += len(part.value)
        if entries > MOST_IN_YAML:
            raise yaml.constructor.ConstructorError(
                None, None, f"it merges more than {MOST_IN_YAML:,} values", node.start_mark
            )
        super().flatten_mapping(node)


def _integer(loader: _Loader, node: Any) -> int:
    """A decimal, octal (0o) or hexadecimal (0x) number."""
    text = str(loader.construct_scalar(node))
    check_digits(text)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _real(loader: _Loader, node: Any) -> float:
    """A number with a point or an exponent, or `.inf`, `-.inf` and `.nan`."""
    text = str(loader.construct_scalar(node)).lower()
    if text.lstrip("+-") in (".inf", ".nan"):
        text = text.replace(".", "")
    return float(text)


_INTEGER = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_REAL = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
for _tag, _pattern, _starts in (
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _REAL, "-+.0123456789"),
    ("merge", re.compile(r"^(?:<<)$"), "<"),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ("~", "n", "N", "")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_starts))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)


def _sentence(error: yaml.YAMLError) -> str:
    """What PyYAML found, and where."""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    if mark is None or "in line" in problem:
        return str(problem)
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}"
