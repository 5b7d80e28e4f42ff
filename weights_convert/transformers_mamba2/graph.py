"""Stacks of Mamba-2 layers as transformers has them, as graphs here."""

from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import GraphSpec, Mamba2Spec, Spec
from tcnzoo.specs.graph import INPUT
from tcnzoo.zoo.parse import parse_spec


def stack_spec(mixers: list[Mamba2Spec], final_norm: bool, block_eps: float | None = None) -> Spec:
    """The graph of a stack: x + mamba2(norm(x)) for each layer, and a norm at the end.

    Args:
        mixers: of each layer.
        final_norm: whether there is a norm after the last.
        block_eps: of the norms before the mixers; None for the mixers' own `norm_eps`.
    """
    nodes: dict[str, Any] = {}
    last = INPUT
    for number, mixer in enumerate(mixers, start=1):
        eps = mixer.norm_eps if block_eps is None else block_eps
        norm = {"kind": "rms_norm", "channels": mixer.channels, "eps": eps}
        nodes[f"norm{number}"] = {"layer": norm, "inputs": [last]}
        nodes[f"mamba{number}"] = {"layer": mixer.model_dump(), "inputs": [f"norm{number}"]}
        added = {"kind": "merge", "mode": "add"}
        nodes[f"sum{number}"] = {"layer": added, "inputs": [last, f"mamba{number}"]}
        last = f"sum{number}"
    if final_norm:
        norm = {"kind": "rms_norm", "channels": mixers[-1].channels, "eps": mixers[-1].norm_eps}
        nodes["norm"] = {"layer": norm, "inputs": [last]}
    return parse_spec({"kind": "graph", "in_channels": mixers[0].channels, "nodes": nodes})


def mixers_of(spec: Spec) -> list[Mamba2Spec]:
    """The layers of a stack as `stack_spec` makes it, with a norm at the end.

    Raises:
        SpecError: another model, or layers that are not alike.
    """
    layers = [node.layer for node in spec.nodes.values()] if isinstance(spec, GraphSpec) else []
    mixers = [layer for layer in layers if isinstance(layer, Mamba2Spec)]
    if not mixers or stack_spec(mixers, final_norm=True) != spec:
        raise SpecError(
            "transformers holds a mamba2, or a graph of rms_norm, mamba2 and sum for each layer "
            f"and an rms_norm at the end, as it is read from there; this {spec.kind} is neither"
        )
    if any(mixer != mixers[0] for mixer in mixers):
        raise SpecError("transformers holds a stack of equal mamba2, but these differ")
    return mixers
