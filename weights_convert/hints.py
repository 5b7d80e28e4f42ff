"""What the caller says of a file: read from text, and compared with what the file itself says."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, suggestion
from tcnzoo.files.documents import parse_yaml
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec


def parse_hints(format_name: str, hints: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
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


def check_hints(path: Path, said: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Compare hints with what a file says.

    Args:
        path: of the file.
        said: name of a hint -> the value in the file, for each that the file says.
        hints: values.
    Raises:
        InputError: a hint that contradicts the file.
    """
    for name in hints:
        if name in said and said[name] != hints[name]:
            raise contradiction(path, f"{name}={hints[name]}", f"says {name}={said[name]}")


def contradiction(path: Path, hint: str, says: str) -> InputError:
    """The error for a hint such as `causal=True` where a file `says causal=False`."""
    return InputError(f"the hint {hint} contradicts {str(path)!r}, which {says}")


def spec_from_facts(
    fields: Mapping[str, Any], hints: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[Spec, dict[str, Any]]:
    """The spec of what a file says, what the caller says, and what is assumed for the rest.

    Args:
        fields: of the spec, as the file says them.
        hints: values of fields, which have been compared with the file's.
        defaults: fields that are assumed where neither says them.
    Returns:
        the spec, and the fields that were assumed.
    Raises:
        SpecError: a value that such a model cannot have.
    """
    assumed = {name: value for name, value in defaults.items() if name not in {**fields, **hints}}
    return parse_spec({**fields, **assumed, **hints}), assumed
