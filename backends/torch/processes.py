"""The processes that train a torch model together, by Lightning Fabric."""

import os
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tcnzoo.errors import InputError
from tcnzoo.training.needs import needed
from tcnzoo.training.stepper import Plan

from .block import Block


def fabric_for(model: Block, plan: Plan) -> Any:
    """Fabric for the model's device, over the processes that torchrun has started, if any.

    Raises:
        BackendMissing: lightning-fabric is not installed.
        InputError: a precision that the device does not have.
    """
    lightning = needed("lightning_fabric", "training in torch")
    strategies = needed("lightning_fabric.strategies", "training in torch")
    device = next(model.parameters()).device
    if plan.precision == "16-mixed" and device.type == "cpu":
        raise InputError("precision '16-mixed' needs a GPU; a CPU has 'bf16-mixed'")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    # The model is of its float type already; Fabric's own 64-true makes float32 of its outputs.
    mixed = plan.precision.endswith("-mixed")
    options: dict[str, Any] = {
        "accelerator": device.type,
        "precision": plan.precision if mixed else "32-true",
    }
    if size > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
        # Which parts of a model of several outputs a loss sees is not known before.
        unused = any(loss.output is not None for loss in plan.losses)
        options |= {"devices": local, "num_nodes": size // local}
        options["strategy"] = strategies.DDPStrategy(find_unused_parameters=unused)
    else:
        options["strategy"] = strategies.SingleDeviceStrategy(device=device)
    fabric = lightning.Fabric(**options)
    fabric.launch()
    return fabric


class Processes:
    """The processes that torchrun has started."""

    def __init__(self, fabric: Any) -> None:
        """Ask Fabric."""
        self.fabric = fabric
        self.rank: int = fabric.global_rank
        self.size: int = fabric.world_size

    def agree(self, values: Sequence[float]) -> list[float]:
        """The values of the first process, in every process."""
        if self.size == 1:
            return list(values)
        agreed: list[float] = self.fabric.broadcast(list(values))
        return agreed

    def sum_of(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        total: Tensor = self.fabric.all_reduce(value, reduce_op="sum")
        return total
