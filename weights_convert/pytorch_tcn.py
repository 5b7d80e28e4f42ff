"""State_dicts of pytorch-tcn's `TCN`, both ways.

Source: pytorch-tcn 1.2.3 (MIT), https://github.com/paul-krug/pytorch-tcn.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.checkpoint import read_config, replacing
from tcnzoo.converted import Converted, Undetermined
from tcnzoo.errors import InputError, WeightError
from tcnzoo.params import Weights, check_weights
from tcnzoo.specs import BatchNormSpec, Spec, TcnSpec

from .container import kind_of
from .container_pt import arrays_of, notes_of, pickled_strings, read_pt, state_dict_of, write_pt
from .hints import check_hints
from .own import header
from .pytorch_tcn_facts import current_name, facts_of, foreign_name, neutral_name, reason_to_drop
from .pytorch_tcn_spec import HINTS, agreeing, arguments_of, completed

NAME = "pytorch-tcn"
DESCRIPTION = "state_dict of pytorch-tcn's TCN (.pt); its arguments are written beside it as .json"
SUFFIXES = (".pt", ".pth")
FOREIGN = True


def detect(path: Path) -> bool:
    """Whether the pickle of a .pt file names pytorch-tcn's first convolution."""
    if kind_of(path) != "pt":
        return False
    return any(name.startswith("network.0.conv1.") for name in pickled_strings(path))


def tensors(path: Path) -> Weights:
    """Every tensor of the state_dict."""
    return arrays_of(path, read_pt(path))


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict: the spec from its shapes, and from the hints what they leave open.

    A file of our own making needs no hints: it carries its spec where a strict load does not mind.

    Raises:
        Undetermined: hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no state_dict of this net.
    """
    document = read_pt(path)
    held = arrays_of(path, document)
    source = {current_name(name): name for name in held}
    given = check_hints(NAME, hints, HINTS)
    config = notes_of(document).get("config")
    if isinstance(config, str):
        written = read_config(config, f"the configuration in {str(path)!r}")
        return _sorted(path, held, agreeing(path, written.model_dump(mode="json"), given), {})
    facts = facts_of({name: held[original].shape for name, original in source.items()})
    try:
        return _sorted(path, held, *completed(path, facts, given))
    except Undetermined as question:
        question.used = {
            original: neutral_name(name)
            for name, original in source.items()
            if reason_to_drop(name) is None
        }
        raise


def _sorted(path: Path, held: Weights, spec: TcnSpec, assumed: Mapping[str, Any]) -> Converted:
    """Sort the tensors into those that are used and those that are dropped."""
    table = spec.params()
    used, dropped = {}, {}
    for original in held:
        name = current_name(original)
        reason = reason_to_drop(name)
        if neutral_name(name) in table:
            used[original] = neutral_name(name)
        elif reason is not None:
            dropped[original] = reason
        else:
            raise WeightError(f"tensor {original!r} of {str(path)!r} is no part of the net")
    weights = {name: held[original] for original, name in used.items()}
    check_weights(table, weights)
    return Converted(spec, weights, used, dropped, assumed)


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a plain state_dict that `TCN(**arguments)` loads strictly, and the arguments as .json.

    Raises:
        SpecError: a model that pytorch-tcn cannot hold.
        InputError: the .json is there and is not one of arguments.
    """
    arguments = arguments_of(spec)
    assert isinstance(spec, TcnSpec)
    beside = path.with_suffix(".json")
    _check_beside(beside)
    with replacing(beside) as temporary:
        temporary.write_text(json.dumps(arguments, indent=2) + "\n", encoding="utf-8")
    held = {foreign_name(name): array for name, array in weights.items()} | _fillers(spec, weights)
    write_pt(path, state_dict_of(held, header(NAME, spec)))
    return {}


def _check_beside(path: Path) -> None:
    """Refuse to replace a .json that is not one of ours."""
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not {"num_inputs", "num_channels"} <= found.keys():
        raise InputError(
            f"{str(path)!r}, where the arguments of pytorch-tcn would go, exists already and holds "
            "something else; choose another name"
        )


def _fillers(spec: TcnSpec, weights: Weights) -> dict[str, Array]:
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
