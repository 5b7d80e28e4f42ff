"""The 19 electrodes that the detectors take, in their order, and the names that files give them."""

import re
from collections.abc import Sequence
from itertools import pairwise

from tcnzoo.errors import InputError

# The order in which brain-go-brr-v2 (Clarity-Digital-Twin) trained its detectors.
TEN_TWENTY = (
    *("Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1"),
    *("Fz", "Cz", "Pz"),
    *("Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2"),
)
# The 10-10 system renamed four electrodes of the 10-20 system.
SYNONYMS = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
# What stands after the electrode in a referential recording: common, averaged, ears or mastoids.
# A number is what MNE appends to a name that a file has twice.
_REFERENCES = r"(REF|LE|RE|AR|AVG|AV|A1|A2|A1A2|M1|M2|\d+)"
_PREFIX = re.compile(r"^EEG[\s:_-]+")
_SUFFIX = re.compile(rf"[\s_-]+{_REFERENCES}$")
_SHOWN = 6


def electrode(name: str) -> str:
    """The electrode that a channel's name means, in capitals: `EEG T7-REF` -> `T3`."""
    bare = _PREFIX.sub("", name.strip().upper()).rstrip(".")
    while bare != (shorter := _SUFFIX.sub("", bare)):
        bare = shorter
    return SYNONYMS.get(bare, bare)


def places(
    names: Sequence[str], where: str, electrodes: Sequence[str] = TEN_TWENTY
) -> tuple[int, ...]:
    """Find the channel of each electrode.

    Args:
        names: of all channels of a recording.
        where: the recording, as the subject of a sentence.
        electrodes: those that are wanted, in order.
    Returns:
        Index into `names` for each of `electrodes`.
    Raises:
        InputError: an electrode that is missing, or there twice; the sentence names it.
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        found.setdefault(electrode(name), []).append(index)
    wanted = [electrode(name) for name in electrodes]
    missing = [name for name, key in zip(electrodes, wanted, strict=True) if key not in found]
    if missing:
        raise InputError(
            f"{where} lacks {len(missing)} of the {len(wanted)} channels that are needed, "
            f"{', '.join(missing)}; it has {_listed(names)}"
        )
    for name, key in zip(electrodes, wanted, strict=True):
        for first, second in pairwise(found[key]):
            raise InputError(
                f"{where} has channel {name} twice, as {names[first]!r} and {names[second]!r}"
            )
    return tuple(found[key][0] for key in wanted)


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    text = ", ".join(map(repr, names[:_SHOWN])) or "none"
    return text + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
