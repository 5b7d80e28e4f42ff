"""The 19 electrodes that the detectors take, in their order, and the names that files give them."""

import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, NoReturn

from tcnzoo.errors import InputError
from tcnzoo.specs.montages import TEN_TWENTY

# The 10-10 system renamed four electrodes of the 10-20 system.
SYNONYMS = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
# What usually stands after the electrode in a referential recording: common, averaged, ears or
# mastoids. A number is what MNE appends to a name that a file has twice.
_REFERENCES = r"(REF|LE|RE|AR|AVG|AV|A1|A2|A1A2|M1|M2|\d+)"
# Ears and mastoids, each the reference of the electrodes of its side.
EARS = (("A1", "A2"), ("M1", "M2"))
_PREFIX = re.compile(r"^((EEG|POL)[\s:_-]+)+")
_SUFFIX = re.compile(rf"[\s_-]+{_REFERENCES}$")
_COUNT = re.compile(r"[\s_-]+\d+$")
_PAIR = re.compile(r"^([^\s:/_-]+)[\s:/_-]+(.+)$")
# Any electrode on the scalp, of the 10-10 system; not the ears and mastoids, A and M.
_SCALP = re.compile(r"^(FP|AF|F|FT|FC|T|TP|C|CP|P|PO|O|I|N)(Z|\d{1,2})$")
_SHOWN = 6


def electrode(name: str) -> str:
    """The electrode that a channel's name means, in capitals: `EEG T7-REF` -> `T3`."""
    bare = _bare(name)
    while bare != (shorter := _SUFFIX.sub("", bare)):
        bare = shorter
    return SYNONYMS.get(bare, bare)


class Channel(NamedTuple):
    """What a name says: the electrode, its reference (empty if it says none), in capitals."""

    electrode: str
    reference: str


def channel(name: str, wanted: Sequence[str]) -> Channel:
    """Take a name apart, by the electrodes that are wanted and those of the scalp.

    Any word behind an electrode is its reference: `POL Fp1-CPz` -> FP1 against CPZ.
    """
    bare = _COUNT.sub("", _bare(name))
    if SYNONYMS.get(bare, bare) in wanted:
        return Channel(SYNONYMS.get(bare, bare), "")
    pair = _PAIR.match(bare)
    if pair is not None:
        first = SYNONYMS.get(pair[1], pair[1])
        if first in wanted or _SCALP.match(first):
            return Channel(first, SYNONYMS.get(pair[2], pair[2]))
    return Channel(electrode(name), "")


def places(
    names: Sequence[str], where: str, electrodes: Sequence[str] = TEN_TWENTY
) -> tuple[int, ...]:
    """Find the channel of each electrode.

    Names may have any suffix that all the electrodes share: it is their reference. Where that is
    an electrode of the scalp itself, most electrodes of the recording must share it, which those
    of a bipolar chain never do. Electrodes against the ear or mastoid of their own side, and some
    without a reference beside others with a usual one, are read with a warning.

    Args:
        names: of all channels of a recording.
        where: the recording, as the subject of a sentence.
        electrodes: those that are wanted, in order.
    Returns:
        Index into `names` for each of `electrodes`.
    Raises:
        InputError: an electrode that is missing, or there twice, or electrodes that have different
            references; the sentence names them.
    """
    wanted = [electrode(name) for name in electrodes]
    channels = [channel(name, wanted) for name in names]
    references = _common_references(channels)
    sets = {reference: _electrodes_against(reference, channels) for reference in references}
    whole = [
        by_electrode for by_electrode in sets.values() if all(key in by_electrode for key in wanted)
    ]
    if not whole:
        whole = _of_usual_references(sets, wanted, names, where)
    if not whole:
        _refuse(names, where, electrodes, wanted, channels, sets)
    for name, key in zip(electrodes, wanted, strict=True):
        for first, second in pairwise(
            [index for by_electrode in whole for index in by_electrode[key]]
        ):
            raise InputError(
                f"{where} has channel {name} twice, as {names[first]!r} and {names[second]!r}"
            )
    return tuple(whole[0][key][0] for key in wanted)


def _bare(name: str) -> str:
    """A name in capitals, without the prefix that says what it is, and without points behind."""
    return _PREFIX.sub("", name.strip().upper()).rstrip(".")


def _common_references(channels: Sequence[Channel]) -> list[str]:
    """References that may be common to all electrodes, in order."""
    references = list(dict.fromkeys(channel.reference for channel in channels))
    scalp = [
        channel.reference
        for channel in channels
        if _SCALP.match(channel.electrode) and channel.reference
    ]
    return [
        reference
        for reference in references
        if not _SCALP.match(reference)
        or (scalp.count(reference) > 1 and 2 * scalp.count(reference) > len(scalp))
    ]


def _electrodes_against(reference: str, channels: Sequence[Channel]) -> dict[str, list[int]]:
    """Indices of the channels of each electrode that has a reference."""
    by_electrode: dict[str, list[int]] = {}
    for index, channel in enumerate(channels):
        if channel.reference == reference:
            by_electrode.setdefault(channel.electrode, []).append(index)
    return by_electrode


def _of_usual_references(
    sets: Mapping[str, Mapping[str, Sequence[int]]],
    wanted: Sequence[str],
    names: Sequence[str],
    where: str,
) -> list[dict[str, list[int]]]:
    """Electrodes against the ear of their own side, or of which some do not name a usual reference.

    They are read as they stand, with a warning; empty where that does not give all of them.
    """
    usual = [reference for reference in sets if re.fullmatch(_REFERENCES, reference)]
    for group in (*EARS, *(("", reference) for reference in usual)):
        joined: dict[str, list[int]] = {}
        for reference in group:
            for key, indices in sets.get(reference, {}).items():
                joined.setdefault(key, []).extend(indices)
        if all(key in joined for key in wanted):
            examples = _examples({reference: sets[reference] for reference in group}, wanted, names)
            warnings.warn(
                f"the electrodes of {where} have several references, as in {examples}; they are "
                "read as they are",
                stacklevel=4,
            )
            return [joined]
    return []


def _examples(
    sets: Mapping[str, Mapping[str, Sequence[int]]], wanted: Sequence[str], names: Sequence[str]
) -> str:
    """The first electrode of each reference, by the name of its channel."""
    examples: dict[str, str] = {}
    for key in wanted:
        for reference, indices in sets.items():
            if key in indices:
                examples.setdefault(reference, names[indices[key][0]])
    return ", ".join(repr(name) for name in examples.values())


def _refuse(
    names: Sequence[str],
    where: str,
    electrodes: Sequence[str],
    wanted: Sequence[str],
    channels: Sequence[Channel],
    sets: Mapping[str, Mapping[str, Sequence[int]]],
) -> NoReturn:
    """Say which electrodes are missing, or which have different references."""
    shown = dict(zip(wanted, electrodes, strict=True))
    missing = [
        key for key in wanted if not any(key in by_electrode for by_electrode in sets.values())
    ]
    if missing:
        hints = [f"; {shown[key]} is the reference of the others" for key in missing if key in sets]
        hints += [
            f"; {name!r} is taken for a bipolar derivation"
            for name, channel in zip(names, channels, strict=True)
            if channel.electrode in missing and channel.reference
        ]
        raise InputError(
            f"{where} lacks {len(missing)} of the {len(wanted)} channels that are needed, "
            f"{', '.join(shown[key] for key in missing)}; it has {_listed(names)}"
            + "".join(hints[:1])
        )
    raise InputError(
        f"the electrodes of {where} must share one reference, but have several, as in "
        f"{_examples(sets, wanted, names)}; bring them to one first"
    )


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    text = ", ".join(map(repr, names[:_SHOWN])) or "none"
    return text + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
