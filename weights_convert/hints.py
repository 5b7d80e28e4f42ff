"""What the caller says of a file: checked against what a format takes, and read from text."""

from collections.abc import Iterable, Mapping
from typing import Any

from tcnzoo.errors import InputError, suggestion
from tcnzoo.files.documents import parse_yaml


def check_hints(format_name: str, hints: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return the hints, text turned into values.

    Args:
        format_name: of the file.
        hints: name -> value, or text as on the command line: `true`, `relu`, `1,2,4`.
        known: names that the format takes.
    Raises:
        InputError: a hint that the format does not take, or that is no value.
    """
    names = list(known)
    for name in hints:
        if name not in names:
            hint = suggestion(name, names) or "; it takes none"
            raise InputError(f"format {format_name!r} takes no hint {name!r}{hint}")
    return {name: _value(name, value) for name, value in hints.items()}


def _value(name: str, value: Any) -> Any:
    """Read text as YAML, and text with commas as a list."""
    if not isinstance(value, str):
        return value
    try:
        parsed = parse_yaml(value)
        if isinstance(parsed, str) and "," in parsed:
            return [parse_yaml(part) for part in parsed.split(",")]
    except ValueError:
        raise InputError(f"hint {name!r} is no value: {value!r}") from None
    return parsed
