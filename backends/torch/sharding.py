"""Models whose parameters are spread over the processes that train them: FSDP2 of torch."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from tcnzoo.errors import InputError

from . import build
from .block import Block
from .options import BLOCKS
from .weights import get_weights, set_weights

# What Fabric's strategy for sharded models takes, of the precisions of a plan.
PRECISIONS = ("32-true", "64-true", "bf16-mixed")
# Parts whose layers run one after the other, each by a call of its own.
CHAINS = ("sequential", "graph")
# torch warns of a part that returns a view, because it loses sight of what is written into a part's
# output in place. No block does that to what another has returned.
VIEWS = "FSDP2-wrapped module .* returned a view tensor"


def check_shardable(model: Block[Any], precision: str) -> None:
    """Hold a model and a precision against what sharding can do.

    Raises:
        InputError: another precision, or a model that was sharded before: torch does so only once.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"strategy 'fsdp' takes precision {', '.join(PRECISIONS)}, but is given {precision!r}"
        )
    if model._was_sharded:
        raise InputError(
            "strategy 'fsdp' shards a model once, but this one has been; create another with its "
            "weights"
        )


def shard(model: Block[Any], mesh: DeviceMesh) -> None:
    """Leave each process its rows of every parameter; a part is whole while it computes.

    Args:
        model: changed in place; its parameters become DTensors, split along their first axis.
        mesh: of Fabric, with the axis `data_parallel`.
    """
    warnings.filterwarnings("ignore", VIEWS, UserWarning)
    for part in (*groups(model), model):
        # The root too, so that what is found between steps is always the shards.
        sharded = fully_shard(part, mesh=mesh["data_parallel"], reshard_after_forward=True)
        # The room for whole parameters is made now: made in inference mode, it could not train.
        sharded.unshard()
        sharded.reshard()


def groups(model: Block[Any]) -> Iterator[Block[Any]]:
    """What is gathered and let go by itself, inner parts first; the rest goes with the model.

    These are the parts that checkpointing computes once more, and the layers of a chain.
    """
    inner: list[Block[Any]] = []
    for path, part in model.named_modules():
        within = any(path.startswith(f"{block.path}.") for block in inner)
        if isinstance(part, Block) and path and part.spec.kind in BLOCKS and not within:
            inner.append(part)
    layers = model.children() if model.spec.kind in CHAINS else ()
    outer = [block for block in layers if isinstance(block, Block) and block not in inner]
    for part in (*inner, *outer):
        if any(True for _ in part.parameters()):
            yield part


def made_whole(model: Block[Any], device: torch.device) -> None:
    """Make a sharded model a plain one again, in place; every process must do so at once.

    torch has no way back from `fully_shard`, so the model takes over the inside of a new one.
    """
    handle, options = model.tcnzoo, model.options
    fresh = build(handle.spec, handle.dtype, None).to(device)
    set_weights(fresh, get_weights(model))
    fresh.tcnzoo, fresh._was_sharded = handle, True
    model.__class__, model.__dict__ = type(fresh), fresh.__dict__
    model.set_options(options)
