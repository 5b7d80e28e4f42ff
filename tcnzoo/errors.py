"""The errors that tcnzoo raises: each message is one sentence, what was expected and what came."""

import difflib
from collections.abc import Iterable
from decimal import Decimal


class TcnzooError(Exception):
    """Base of every error that a caller of tcnzoo may want to catch."""


class SpecError(TcnzooError):
    """A model description that is malformed, inconsistent, or not supported."""


class WeightError(TcnzooError):
    """Weights or a checkpoint file that do not fit the model they are meant for."""


class BackendMissing(TcnzooError):  # noqa: N818 - the name is part of the public API
    """A backend that is unknown or whose framework is not installed."""


class InputError(TcnzooError):
    """An array, a state, a file name or an option that the call cannot take."""


class SignalTooLong(InputError):  # noqa: N818 - a kind of InputError, told apart by its cause
    """A signal with more time steps than a model of a fixed length takes."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of `known`, or the list of what is known."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(word[:200], names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(sorted(names))}" if names else ""


def number_text(number: int) -> str:
    """A whole number for a sentence or a table, with an exponent where nobody counts the digits."""
    return f"{number:,}" if abs(number) < 10**15 else f"{Decimal(number):.3e}"
