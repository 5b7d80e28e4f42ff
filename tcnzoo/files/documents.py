"""YAML and JSON of specs and configurations: read strictly, within bounds of size and depth.

A key that stands twice in one mapping is refused in both languages, and so are JSON's `NaN` and
`Infinity`, which Python takes and JSON does not have. For YAML see `tcnzoo.files.yaml_core`.

Source: RFC 8259.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError
from tcnzoo.files.bounds import (
    DEEPEST,
    LARGEST_JSON,
    LARGEST_YAML,
    MOST_IN_JSON,
    MOST_IN_YAML,
    check_digits,
    cut,
    expanded,
    shortened,
)


def parse_yaml(text: str) -> Any:
    """Read a YAML document.

    Raises:
        ValueError: not YAML, a key that stands twice, or a document beyond the bounds; one line,
            with the place.
    """
    from tcnzoo.files import yaml_core  # 15 ms that `import tcnzoo` does without

    _check_size(text, LARGEST_YAML, "YAML")
    return _parsed(lambda: yaml_core.load(text), MOST_IN_YAML)


def parse_json(text: str | bytes, *, constants: bool = False) -> Any:
    """Read a JSON document; raises as `parse_yaml`.

    Args:
        text: JSON.
        constants: read `NaN` and `Infinity` too, as other programs write them.
    """
    _check_size(text, LARGEST_JSON, "JSON")
    return _parsed(
        lambda: json.loads(
            text,
            object_pairs_hook=without_twins,
            parse_constant=float if constants else _refused,
            parse_int=_whole,
        ),
        MOST_IN_JSON,
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that holds a mapping.

    Raises:
        InputError: no such file.
        SpecError: anything else in it.
    """
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"no spec at {str(path)!r}")
    is_json = path.suffix == ".json"
    # YAML takes most of JSON, but no tabs between values.
    parse: Callable[[str], Any] = parse_json if is_json else parse_yaml
    largest, language = (LARGEST_JSON, "JSON") if is_json else (LARGEST_YAML, "YAML")
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(largest + 1)
            _check_size(text, largest, language)
            document = parse(text)
    except ValueError as error:  # which broken UTF-8 is, too
        raise SpecError(f"{str(path)!r} is not valid YAML or JSON: {error}") from None
    if not isinstance(document, dict):
        raise SpecError(f"{str(path)!r} must hold a mapping, but holds {shortened(document)}")
    return document


def _check_size(text: str | bytes, most: int, language: str) -> None:
    """Raise ValueError for a document that is too large."""
    if len(text) > most:
        raise ValueError(f"it is too long: {language} of more than {most:,} characters is not read")


def _parsed(parse: Callable[[], Any], most: int) -> Any:
    """Parse, and hold what came against the bounds."""
    try:
        document = parse()
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} in line {error.lineno}, column {error.colno}") from None
    if expanded(document) > most:
        raise ValueError(f"it holds more than {most:,} values")
    return document


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys differ, for `json.loads`; raises ValueError for two of one name."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {cut(twin)!r} stands twice in one mapping")
    return mapping


def _refused(word: str) -> None:
    """Refuse NaN and infinities."""
    raise ValueError(f"it holds {word}, which is no JSON")


def _whole(text: str) -> int:
    """A whole number of a sensible length."""
    check_digits(text)
    return int(text)
