"""What a state_dict of a TemporalConvNet says of its net."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..containers.state_dicts import Net
from ..pytorch_tcn.facts import TcnFacts, facts_of
from ..pytorch_tcn.names import current_name
from .names import direct_name

# What every such net has, whatever its tensors are.
CONSTANT: Mapping[str, Any] = {
    "causal": True,
    "activation": "relu",
    "gate": False,
    "skip_connections": False,
    "output_projection": None,
    "output_activation": None,
}


def facts_in(net: Net) -> TcnFacts:
    """The facts of a net: some from the shapes, the others the same for all such nets."""
    shapes = {current_name(direct_name(name)): array.shape for name, array in net.tensors.items()}
    facts = facts_of(shapes)
    # Other norms have tensors, which are then no part of the net.
    norm = facts.norm if facts.norm == "weight_norm" else "none"
    dilations = doubled(len(facts.channels))
    return replace(facts, norm=norm, dilations=dilations, others=CONSTANT)


def doubled(depth: int) -> list[int]:
    """1, 2, 4, ..."""
    return [2**level for level in range(depth)]
