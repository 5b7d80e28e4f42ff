"""The processes that train a torch model together, by Lightning Fabric."""

import os
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tcnzoo.engines import warn_of_slow
from tcnzoo.errors import InputError
from tcnzoo.training.needs import needed
from tcnzoo.training.stepper import Plan

from .block import Block


def fabric_for(model: Block[Any], plan: Plan) -> Any:
    """Fabric for the model's device, over the processes that torchrun has started, if any.

    With the strategy `fsdp` the model is sharded over several processes from here on.

    Raises:
        BackendMissing: lightning-fabric is not installed.
        InputError: a precision that the device or the strategy does not have, or a model that
            cannot be sharded.
    """
    lightning = needed("lightning_fabric", "training in torch")
    device = next(model.parameters()).device
    if plan.precision == "16-mixed" and device.type == "cpu":
        raise InputError("precision '16-mixed' needs a GPU; a CPU has 'bf16-mixed'")
    if plan.precision == "bf16-mixed" and device.type == "cpu":
        warn_of_slow("bfloat16", "precision 'bf16-mixed'", "train with precision '32-true'")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    # The model is of its float type already; Fabric's own 64-true makes float32 of its outputs.
    mixed = plan.precision.endswith("-mixed")
    options: dict[str, Any] = {
        "accelerator": device.type,
        "precision": plan.precision if mixed else "32-true",
    }
    if size > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
        options |= {"devices": local, "num_nodes": size // local}
    fabric = lightning.Fabric(**options, strategy=_strategy(model, plan, size))
    fabric.launch()
    if _shards(plan, size):
        from .sharding import shard  # which imports what only sharded models need

        shard(model, fabric.strategy.device_mesh)
    return fabric


def _shards(plan: Plan, size: int) -> bool:
    """Whether there is something to share, and a plan wants it shared."""
    return plan.strategy == "fsdp" and size > 1


def _strategy(model: Block[Any], plan: Plan, size: int) -> Any:
    """Fabric's strategy for one process or several."""
    strategies = needed("lightning_fabric.strategies", "training in torch")
    if size == 1:
        return strategies.SingleDeviceStrategy(device=next(model.parameters()).device)
    if _shards(plan, size):
        from .sharding import check_shardable

        check_shardable(model, plan.precision)
        # The model is sharded once, before its optimiser is made, but set up at every freeze.
        return strategies.ModelParallelStrategy(
            lambda sharded, _: sharded, data_parallel_size=size, tensor_parallel_size=1
        )
    # Which parts of a model of several outputs a loss sees is not known before.
    unused = any(loss.output is not None for loss in plan.losses)
    return strategies.DDPStrategy(find_unused_parameters=unused)


class Processes:
    """The processes that torchrun has started.

    Attributes:
        sharded: whether each of them holds a part of every parameter.
    """

    def __init__(self, fabric: Any, model: Block[Any], plan: Plan) -> None:
        """Ask Fabric."""
        self.fabric, self.model = fabric, model
        self.rank: int = fabric.global_rank
        self.size: int = fabric.world_size
        self.sharded = _shards(plan, self.size)

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

    def leave(self) -> None:
        """Give the model back, whole, in every process; none of them trains it any more."""
        if self.sharded:
            from .sharding import made_whole

            made_whole(self.model, self.fabric.device)
            self.sharded = False
