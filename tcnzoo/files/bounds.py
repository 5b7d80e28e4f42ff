"""Bounds of documents, and values from them as words of a sentence."""

from collections.abc import Sequence
from typing import Any

# A document is small. These bounds keep a mistaken one from taking minutes or the memory.
LARGEST_YAML, LARGEST_JSON = 2**19, 2**26  # characters
MOST_IN_YAML, MOST_IN_JSON = 100_000, 1_000_000  # values, with every alias written out
DEEPEST = 64
MOST_DIGITS = 40


def shortened(value: Any) -> str:
    """A value as text, cut to a readable length; a large one is not written out for that."""
    if isinstance(value, dict | list | tuple) and _is_large(value):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind} of {len(value):,} entries"
    return cut(repr(value[:100] if isinstance(value, str) else value))


def cut(text: str, most: int = 60) -> str:
    """Text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def plain(text: str) -> str:
    """Text that a sentence shows without quotes: cut, and on one line."""
    start = text[:100]
    return cut(start if start.isprintable() else repr(start)[1:-1])


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _is_large(value: Any) -> bool:
    """Whether a mapping or list holds more than could be shown."""
    try:
        return expanded(value) > DEEPEST
    except ValueError:  # too deep
        return True


def check_digits(number: str) -> None:
    """Raise ValueError for a number of more digits than anything needs."""
    if len(number) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(number)} digits")


def expanded(document: Any) -> int:
    """Values of a document with every alias written out.

    Raises:
        ValueError: it contains itself, or is nested too deep.
    """
    known: dict[int, int] = {}

    def count(value: Any, depth: int) -> int:
        if not isinstance(value, dict | list | tuple):
            return 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        if id(value) not in known:
            inner = value.values() if isinstance(value, dict) else value
            known[id(value)] = 1 + sum(count(part, depth + 1) for part in inner)
        return known[id(value)]

    return count(document, 0)
