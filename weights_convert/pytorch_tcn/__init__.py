"""State_dicts of pytorch-tcn's `TCN`, both ways.

Source: pytorch-tcn 1.2.3 (MIT), https://github.com/paul-krug/pytorch-tcn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import SpecError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import BatchNormSpec, Spec, TcnSpec

from ..containers.own import header
from ..containers.pt import state_dict_of, write_pt
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from ..hints import check_hints
from ..torch import LAYOUT
from .arguments import arguments_beside, arguments_of, check_softmax, the_tcn
from .detect import PYTORCH, ROOT, projects
from .facts import OLD_BUFFER, current_name, facts_of, foreign_name, neutral_name, reason_to_drop
from .spec import HINTS, agreeing, completed, written_in

NAME = PYTORCH
DESCRIPTION = "state_dict of pytorch-tcn's TCN (.pt); its arguments are written beside it as .json"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
# How far a causal net looks ahead: an argument up to version 1.1, which wrote no tensor for it.
LOOKAHEAD = "lookahead"


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file may be those of pytorch-tcn."""
    return NAME in projects(path)


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict: the spec from its shapes, and from the hints what they leave open.

    The net may be part of a larger model, and its state_dict part of a training checkpoint. A file
    of our own making needs no hints: it carries its spec where a strict load does not mind.

    Raises:
        Undetermined: hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        SpecError: a net that has no counterpart.
        WeightError: no state_dict of this net.
    """
    held, notes = open_state_dict(path)
    written = written_in(NAME, path, notes)
    given = check_hints(NAME, hints, (*HINTS, LOOKAHEAD))
    if given.get(LOOKAHEAD, 0) != 0:
        raise SpecError(f"a net with lookahead={given[LOOKAHEAD]} has no counterpart; only 0 has")
    net = net_in(path, held, ROOT, given)
    fields = {name: value for name, value in given.items() if name not in (PREFIX, LOOKAHEAD)}
    assumed: Mapping[str, Any] = {}
    if written is not None:
        spec = agreeing(path, written.model_dump(mode="json"), fields)
    else:
        spec, assumed = _inferred(path, net, fields)
        if spec.causal and LOOKAHEAD not in given and any(map(OLD_BUFFER.search, net.tensors)):
            assumed = {LOOKAHEAD: 0, **assumed}
    check_softmax(spec)
    return sorted_out(path, net, spec, assumed, _neutral, _reason, LAYOUT)


def _inferred(path: Path, net: Net, hints: Mapping[str, Any]) -> tuple[TcnSpec, dict[str, Any]]:
    """The spec that the shapes and the hints say, and the fields that were assumed."""
    facts = facts_of({current_name(name): array.shape for name, array in net.tensors.items()})
    try:
        return completed(path, facts, hints)
    except Undetermined as question:
        question.used = {
            net.prefix + name: _neutral(name) for name in net.tensors if _reason(name) is None
        }
        raise


def _neutral(name: str) -> str:
    """Neutral name of a tensor of any version."""
    return neutral_name(current_name(name))


def _reason(name: str) -> str | None:
    """Why a tensor of any version may be left out."""
    return reason_to_drop(current_name(name))


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a plain state_dict that `TCN(**arguments)` loads strictly, and the arguments as .json.

    Raises:
        SpecError: a model that pytorch-tcn cannot hold.
        InputError: the .json is there and is not one of arguments.
    """
    with arguments_beside(NAME, path, arguments_of(spec)) as temporary:
        held = {foreign_name(name): array for name, array in weights.items()}
        held |= _fillers(the_tcn(NAME, spec), weights)
        write_pt(temporary, state_dict_of(held, header(NAME, spec)))
    return {}


def _fillers(spec: TcnSpec, weights: Tensors) -> dict[str, Array]:
    """What pytorch-tcn's state_dict has beside the weights, as a new net has it."""
    dtype = next(iter(weights.values())).dtype
    fillers: dict[str, Array] = {}
    for level in range(len(spec.channels)):
        place, block = f"network.{level}", spec.block(level)
        reach = (block.kernel_size - 1) * block.dilation
        for conv, inside in (("conv1", block.in_channels), ("conv2", block.channels)):
            fillers[f"{place}.{conv}.padder.buffer"] = np.zeros((1, inside, reach), dtype)
        if isinstance(spec.norm, BatchNormSpec):
            for norm in ("norm1", "norm2"):
                fillers[f"{place}.{norm}.num_batches_tracked"] = np.zeros((), np.int64)
        if spec.embeddings and spec.embedding_mode == "add":
            shape = (block.inner, 2 * block.inner, 1)
            fillers[f"{place}.embedding_projection_2.weight"] = np.zeros(shape, dtype)
            fillers[f"{place}.embedding_projection_2.bias"] = np.zeros(shape[:1], dtype)
    return fillers
