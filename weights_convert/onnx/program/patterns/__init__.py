"""Layers that exporters write out in small steps, put together again."""

from ..layers import Program
from .activations import clipped, gated, glu, hard_sigmoid, softplus
from .match import Matcher
from .norms import layer_norm, spread_layer_norm

PATTERNS = (
    clipped, hard_sigmoid, gated, glu, softplus, layer_norm, spread_layer_norm,
)  # fmt: skip


def put_together(program: Program) -> None:
    """Replace every group of steps that is one layer, the largest groups first."""
    look = Matcher(program)
    for number in reversed(list(program.order)):
        layer = program.layers[number]
        for pattern in PATTERNS:
            whole = pattern(look, number, layer)
            if whole is not None:
                program.replace(number, program.add(whole, before=number))
                break
    program.prune()
