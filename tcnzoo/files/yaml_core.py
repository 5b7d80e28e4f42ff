"""YAML by the core schema of version 1.2, without twin keys.

`yes`, `20:30` and dates are text, `010` is ten, `1e-5` is a number; PyYAML by itself reads version
1.1, where they are true, 1230, a date, eight and text. `<<` merges mappings as in 1.1.

Source: YAML 1.2.2, section 10.3.2.
"""

import re
from typing import Any, ClassVar

import yaml

from tcnzoo.files.bounds import MOST_IN_YAML, check_digits, cut


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

    # What PyYAML has for the words and numbers of YAML 1.1 is not inherited, nor its further types.
    yaml_implicit_resolvers: dict[str | None, list[tuple[str, Any]]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (*(f"tag:yaml.org,2002:{one}" for one in ("null", "str", "seq", "map")), None)
    }

    def __init__(self, text: str) -> None:
        """Nothing is read yet."""
        super().__init__(text)
        self._values = self._merged = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse a document with too many values before all of them are read."""
        self._values += index is not None  # which it is for keys
        if self._values > MOST_IN_YAML:
            problem = f"it holds more than {MOST_IN_YAML:,} values"
            raise yaml.composer.ComposerError(None, None, problem)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that stands twice."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], Any] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            twin = first.setdefault((key.tag, key.value), key)
            if twin is not key:
                lines = [key_node.start_mark.line + 1 for key_node in (twin, key)]
                raise yaml.composer.ComposerError(
                    None,
                    None,
                    f"the key {cut(key.value)!r} stands twice, in line {lines[0]} and line "
                    f"{lines[1]}",
                    key.start_mark,
                )
        return node

    def flatten_mapping(self, node: Any) -> None:
        """Put the pairs of merged mappings before those of a mapping itself, within a bound."""
        merged: list[Any] = []
        own: list[Any] = []
        for key, value in node.value:
            if key.tag != _MERGE:
                own.append((key, value))
                continue
            several = isinstance(value, yaml.SequenceNode)
            # Of several the first one counts, so it comes last.
            for mapping in reversed(value.value) if several else [value]:
                merged += self._pairs_of(mapping)
        node.value = merged + own

    def _pairs_of(self, node: Any) -> list[Any]:
        """The pairs of a mapping that is merged into another."""
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                None, None, "'<<' must name a mapping or a list of mappings", node.start_mark
            )
        self.flatten_mapping(node)
        pairs = {(key.tag, str(key.value)): (key, value) for key, value in node.value}
        self._merged += len(pairs)
        if self._merged > MOST_IN_YAML:
            raise yaml.constructor.ConstructorError(
                None, None, f"more than {MOST_IN_YAML:,} values are merged", node.start_mark
            )
        return list(pairs.values())


def _text(loader: _Loader, node: Any, pattern: re.Pattern[str]) -> str:
    """The text of a number or word, whose type may be written before it."""
    text = str(loader.construct_scalar(node))
    if not pattern.match(text):
        kind = node.tag.rpartition(":")[2]
        problem = f"{cut(text)!r} is not a value of type {kind}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return text


def _truth(loader: _Loader, node: Any) -> bool:
    """True or false."""
    return _text(loader, node, _BOOLEAN).lower() == "true"


def _integer(loader: _Loader, node: Any) -> int:
    """A decimal, octal (0o) or hexadecimal (0x) number."""
    text = _text(loader, node, _INTEGER)
    check_digits(text)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _real(loader: _Loader, node: Any) -> float:
    """A number with a point or an exponent, or `.inf`, `-.inf` and `.nan`."""
    text = _text(loader, node, _REAL).lower()
    if text.lstrip("+-") in (".inf", ".nan"):
        text = text.replace(".", "")
    return float(text)


_MERGE = "tag:yaml.org,2002:merge"
_BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INTEGER = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_REAL = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
for _tag, _pattern, _starts in (
    ("bool", _BOOLEAN, "tTfF"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _REAL, "-+.0123456789"),
    ("merge", re.compile(r"^(?:<<)$"), "<"),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ("~", "n", "N", "")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_starts))
_Loader.add_constructor("tag:yaml.org,2002:bool", _truth)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)


def _sentence(error: yaml.YAMLError) -> str:
    """What PyYAML found, and where."""
    problem = cut(getattr(error, "problem", None) or str(error).splitlines()[0], 200)
    mark = getattr(error, "problem_mark", None)
    if mark is None or "in line" in problem:
        return str(problem)
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}"
