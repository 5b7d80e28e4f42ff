"""TCNs: the grid of their options, and a few rows of it in which everything meets."""

import itertools
import random

from tests.support.cases import MODES, NORMS

_BOTH = [4, {"channels": 3, "per_step": True}]
TCN_OPTIONS = {
    "norm": NORMS,
    "padding_mode": MODES,
    "gate": (False, True),
    "skip_connections": (False, True),
    "causal": (True, False),
    "embeddings": ("none", "add", "concat"),
    "squeeze_excitation": ("none", "global", "cumulative"),
}


def tcn(embeddings="none", squeeze_excitation="none", **fields):
    """A TCN of three small blocks, one of them without a change of width."""
    spec = {
        "kind": "tcn",
        "in_channels": 3,
        "channels": [4, 4, 6],
        "kernel_size": 3,
        "dropout": 0.1,
    }
    if embeddings != "none":
        spec |= {"embeddings": _BOTH, "embedding_mode": embeddings}
    if squeeze_excitation != "none":
        spec["squeeze_excitation"] = {"pool": squeeze_excitation, "reduction": 2}
    return {**spec, **fields}


def tcn_grid(**fixed):
    """Every combination of the options that `fixed` leaves, as dictionaries for `tcn`."""
    free = {name: values for name, values in TCN_OPTIONS.items() if name not in fixed}
    return [
        {**fixed, **dict(zip(free, row, strict=True))} for row in itertools.product(*free.values())
    ]


def covering(rows, strength=2, seed=0):
    """A few of `rows` in which every combination of values of any `strength` options occurs."""

    rows = random.Random(seed).sample(rows, len(rows))
    occurring = [
        {frozenset(some) for some in itertools.combinations(row.items(), strength)} for row in rows
    ]
    missing, chosen = set().union(*occurring), []
    while missing:
        best = max(range(len(rows)), key=lambda number: len(occurring[number] & missing))
        missing -= occurring[best]
        chosen.append(rows[best])
    return chosen
