"""torch's .pt archives: read as named arrays without running their pickle, and written."""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.backend import missing_package
from tcnzoo.checkpoint import replacing
from tcnzoo.errors import BackendMissing, WeightError
from tcnzoo.params import Weights

from .container import archive, kind_of

# What a pickle of tensors and plain values refers to.
PLAIN = ("torch", "collections", "numpy", "_codecs")
_TEXT = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE")


def pickled_strings(path: Path) -> set[str]:
    """All strings in the pickle of a .pt archive, found by walking its opcodes: nothing is run.

    Raises:
        WeightError: no such archive, a broken pickle, or one that refers to anything but tensors
            and plain values.
    """
    kind = kind_of(path)
    if kind == "pickle":
        raise WeightError(
            f"{str(path)!r} is a bare pickle, which may hold code, so it was not run; write it "
            "anew with torch.save(model.state_dict(), ...)"
        )
    if kind != "pt":
        raise WeightError(f"{str(path)!r} is no archive that torch.save wrote")
    with archive(path) as opened:
        # torch picks one of them by a rule of its own, in any case of letters.
        names = [name for name in opened.namelist() if name.lower().endswith("data.pkl")]
        pickles = [opened.read(name) for name in names]
    return set().union(*(_strings_of(path, data) for data in pickles))


def _strings_of(path: Path, data: bytes) -> set[str]:
    """All strings in a pickle; WeightError for one that refers to code."""
    strings: set[str] = set()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("GLOBAL", "INST"):
                _check_reference(path, str(argument))
            elif opcode.name == "STACK_GLOBAL":
                _check_reference(path, "a name that it makes up")
            elif opcode.name in _TEXT:
                strings.add(str(argument))
    except (ValueError, IndexError, EOFError) as error:
        raise WeightError(f"{str(path)!r} is damaged: its pickle breaks off, {error}") from None
    return strings


def _check_reference(path: Path, name: str) -> None:
    """Refuse a reference to code."""
    dotted = name.replace(" ", ".")
    if dotted.partition(".")[0] not in PLAIN:
        raise WeightError(
            f"{str(path)!r} holds more than tensors: its pickle refers to {dotted}, so it was not "
            "run; save model.state_dict() alone"
        )


def read_pt(path: Path) -> Any:
    """Load a .pt archive of tensors and plain values on the CPU.

    Raises:
        WeightError: a broken archive, or a pickle with code in it, which is not run.
        BackendMissing: torch is not installed.
    """
    pickled_strings(path)
    torch = _torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        lines = [line for line in str(error).splitlines() if "GLOBAL" in line] or [""]
        raise WeightError(
            f"{str(path)!r} holds more than tensors, so it was not run; save model.state_dict() "
            f"alone {lines[0].strip()}".rstrip()
        ) from None
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightError(f"{str(path)!r} is damaged: {reason}") from None


def arrays_of(path: Path, document: Any) -> Weights:
    """The tensors of a state_dict as numpy views, bits unchanged.

    Raises:
        WeightError: something else than a mapping of names to dense tensors.
    """
    if not isinstance(document, Mapping) or not document:
        raise WeightError(
            f"{str(path)!r} must hold a state_dict, but holds {type(document).__name__}"
        )
    return {str(name): _array(path, str(name), tensor) for name, tensor in document.items()}


def _array(path: Path, name: str, tensor: Any) -> Array:
    """One tensor, which must own as much memory as its shape says."""
    torch = _torch()
    if not isinstance(tensor, torch.Tensor):
        raise WeightError(
            f"{str(path)!r} must hold a state_dict, but {name!r} is {type(tensor).__name__}"
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise WeightError(f"tensor {name!r} of {str(path)!r} must be dense, but is {tensor.type()}")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise WeightError(
            f"tensor {name!r} of {str(path)!r} claims shape {tuple(tensor.shape)}, for which the "
            f"file holds too few values"
        )
    try:
        return to_numpy(tensor)
    except TypeError:
        raise WeightError(
            f"tensor {name!r} of {str(path)!r} is of type {tensor.dtype}, which numpy cannot hold"
        ) from None


def state_dict_of(tensors: Mapping[str, Array], notes: Mapping[str, str] | None = None) -> Any:
    """A state_dict of arrays of any strides, bits unchanged.

    Args:
        tensors: names in the order they are to have.
        notes: text kept in the `_metadata` that every state_dict carries and no strict load minds.
    """
    state_dict: OrderedDict[str, Any] = OrderedDict()
    for name, array in tensors.items():
        state_dict[name] = _tensor(array)
    state_dict._metadata = {"": {"version": 1, **(notes or {})}}  # type: ignore[attr-defined]
    return state_dict


def notes_of(document: Any) -> Mapping[str, Any]:
    """The notes of a state_dict, or nothing."""
    metadata = getattr(document, "_metadata", None)
    found = metadata.get("") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def write_pt(path: Path, document: Any) -> None:
    """Write tensors and plain values as a .pt archive, whole or not at all."""
    torch = _torch()
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(document, file)


def _tensor(array: Array) -> Any:
    """A torch tensor with the bits of an array."""
    torch = _torch()
    owned = np.array(array, order="C")
    if owned.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(owned.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(owned)


def _torch() -> Any:
    """The package torch."""
    if missing_package("torch") is not None:
        raise BackendMissing(
            "a .pt file needs torch, which is not installed; run: pip install 'tcnzoo[torch]'"
        )
    import torch

    return torch
