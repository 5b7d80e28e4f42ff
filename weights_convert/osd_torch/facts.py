"""What the tensors of an OpenSeizureDetector file say of its DeepEpi net.

Source: names and shapes of OpenSeizureDetector, nnTraining2, `DeepEpiCnn`: facts only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcnzoo.errors import WeightError

Shapes = Mapping[str, tuple[int, ...]]
# Places that a convolution block takes in `conv_stack`: the kernel, the norm, the activation, and,
# only where there is one, the dropout.
PLAIN_STEP, DROPOUT_STEP = 3, 4
_CONV = re.compile(r"conv_stack\.(\d+)\.(\w+)")


@dataclass(frozen=True)
class DeepEpiFacts:
    """What the tensors of a file say of its net.

    Attributes:
        in_channels, filters, kernel_sizes, dense, classes: arguments of `deepepi_document`.
        step: how many places of `conv_stack` a block takes, with or without dropout.
    """

    in_channels: int
    filters: list[int]
    kernel_sizes: list[int]
    dense: list[int]
    classes: int
    step: int

    def sizes(self) -> dict[str, Any]:
        """The arguments of `deepepi_document` that are known."""
        return {
            "in_channels": self.in_channels,
            "filters": self.filters,
            "kernel_sizes": self.kernel_sizes,
            "dense": self.dense,
            "classes": self.classes,
        }


def facts_of(path: Path, shapes: Shapes) -> DeepEpiFacts:
    """Read the facts of a net off its tensors.

    Raises:
        WeightError: tensors of no such net.
    """
    kernels = [shapes[f"conv_stack.{position}.weight"] for position in _positions(shapes)]
    dense: list[tuple[int, ...]] = []
    while f"fc{len(dense) + 1}.weight" in shapes:
        dense.append(shapes[f"fc{len(dense) + 1}.weight"])
    last = shapes.get("fc_out.weight", ())
    if not kernels or not dense or {len(shape) for shape in [*dense, last]} != {2}:
        raise WeightError(
            f"{str(path)!r} must hold the kernels of conv_stack, fc1 .. and fc_out, but does not"
        )
    return DeepEpiFacts(
        in_channels=kernels[0][1],
        filters=[shape[0] for shape in kernels],
        kernel_sizes=[shape[2] for shape in kernels],
        dense=[shape[0] for shape in dense],
        classes=last[0],
        step=_step(path, shapes),
    )


def _step(path: Path, shapes: Shapes) -> int:
    """How many places of `conv_stack` a block takes.

    Raises:
        WeightError: neither three nor four, or not the same for all.
    """
    positions = _positions(shapes)
    for step in (PLAIN_STEP, DROPOUT_STEP):
        if positions == list(range(0, step * len(positions), step)) and len(positions) > 1:
            return step
    raise WeightError(
        f"the kernels of conv_stack in {str(path)!r} must be at every third place, or with dropout "
        f"at every fourth, but are at {', '.join(map(str, positions))}"
    )


def _positions(shapes: Shapes) -> list[int]:
    """Places of the convolutions in `conv_stack`."""
    matches = ((_CONV.fullmatch(name), shape) for name, shape in shapes.items())
    return sorted(
        int(match[1])
        for match, shape in matches
        if match and match[2] == "weight" and len(shape) == 3
    )
