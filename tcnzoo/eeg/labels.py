"""Which labels of events are seizures: one rule for every kind of file."""

from collections.abc import Iterable

from tcnzoo.errors import InputError

SEIZURE, BACKGROUND = "sz", "bckg"
ANY_OF_NEDC = "seiz"
# Without `nesz`, a non-epileptic seizure, which "contains no electrographic signs".
_NEDC = frozenset(
    (ANY_OF_NEDC, "fnsz", "gnsz", "spsz", "cpsz", "absz", "tnsz", "cnsz", "tcsz", "atsz", "mysz")
)
_WORD = "seizure"


def normal(label: str) -> str:
    """A label as it is compared: without blanks around it, in lower case."""
    return label.strip().casefold()


def is_seizure(label: str, also: frozenset[str] = frozenset()) -> bool:
    """Whether a label stands for a seizure, in any case.

    Args:
        label: as it stands in a file.
        also: further names, by `checked_names`.
    Source:
        SzCORE's `sz`, alone or with what refines it (`sz_foc_ia`), but no word that begins with
        these letters: Dan et al. 2024, arXiv:2402.13005, and epilepsy2bids 0.0.7. NEDC's labels:
        supplementary table 1 of Hermes, Pal Attia et al. 2025, doi:10.1038/s41597-025-05791-2.
    """
    name = normal(label)
    refined = name.startswith(SEIZURE) and not name[len(SEIZURE) :][:1].isalpha()
    return refined or name in _NEDC or name == _WORD or name in also


def kind_of(label: str) -> str:
    """The label of a seizure for an event: `sz` if it does not name a kind."""
    return SEIZURE if normal(label) in (SEIZURE, ANY_OF_NEDC, _WORD) else label.strip()


def is_background(label: str) -> bool:
    """Whether a label means that nothing happens."""
    return normal(label) == BACKGROUND


def checked_names(names: Iterable[str]) -> frozenset[str]:
    """Further labels of seizures, as they are compared.

    Raises:
        InputError: one text instead of a list of names, a blank name, or that of the background.
    """
    if isinstance(names, str):
        raise InputError(f"seizures must be a list of labels, but is the text {names!r}")
    known = frozenset(normal(name) for name in names)
    for name in known & {"", BACKGROUND}:
        raise InputError(
            f"a seizure label must not be blank or the label of the background, but is {name!r}"
        )
    return known
