"""torch's .pt archives: read as named arrays without running their pickle, and written."""

import mmap
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, BadZipFile, ZipInfo

import ml_dtypes
import numpy as np

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.checkpoints.directory import replacing
from tcnzoo.errors import BackendMissing, WeightError
from tcnzoo.extras import missing_package
from tcnzoo.files.sinks import Sink

from .detect import archive, kind_of, reason
from .pickled import numbers_allowed

# What a pickle of tensors and plain values refers to.
PLAIN = ("torch", "collections", "numpy", "pathlib", "_codecs")
# Bytes of a member's header in a zip archive, before its name.
HEADER = 30
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
        raise WeightError(
            f"{str(path)!r} is damaged: its pickle breaks off, {reason(error)}"
        ) from None
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
    """Load a .pt archive of tensors and plain values on the CPU; tensors are mapped from the file.

    Raises:
        WeightError: a broken archive, or a pickle with code in it, which is not run.
        BackendMissing: torch is not installed.
    """
    pickled_strings(path)
    torch = _torch()
    records = _records(path)
    options = {"map_location": "cpu", "weights_only": True, "mmap": records is not None}
    try:
        with numbers_allowed():
            document = torch.load(path, **options)
        _check_storages(document, records)
        return document
    except pickle.UnpicklingError as error:
        lines = [line for line in str(error).splitlines() if "GLOBAL" in line] or [""]
        raise WeightError(
            f"{str(path)!r} holds more than tensors, so it was not run; save model.state_dict() "
            f"alone {lines[0].strip()}".rstrip()
        ) from None
    except Exception as error:  # a damaged pickle makes torch stumble in any way
        raise WeightError(f"{str(path)!r} is damaged: {reason(error)}") from None


def _records(path: Path) -> dict[int, int] | None:
    """Where in the file each record of an archive begins, and its size; None if one is packed."""
    with archive(path) as opened:
        members = opened.infolist()
        if opened.fp is None or any(member.compress_type != ZIP_STORED for member in members):
            if opened.testzip() is not None:  # torch would leave a tensor as the memory was
                raise BadZipFile("a checksum in it is wrong")
            return None
        for member in members:
            opened.open(member).close()  # which holds its two headers against each other
        return {_begin(opened.fp, member): member.file_size for member in members}


def _begin(file: IO[bytes], member: ZipInfo) -> int:
    """Where the bytes of a member begin: behind its header, its name and what else stands there."""
    file.seek(member.header_offset + HEADER - 4)
    sizes = file.read(4)
    extra = int.from_bytes(sizes[:2], "little") + int.from_bytes(sizes[2:], "little")
    return member.header_offset + HEADER + extra


def _check_storages(document: Any, records: Mapping[int, int] | None) -> None:
    """Raise ValueError if a mapped tensor is not just its record, which torch lets pass."""
    sizes = {
        storage.data_ptr(): storage.nbytes() for storage in _storages(document) if storage.nbytes()
    }
    if records is None or not sizes:
        return
    # The file is mapped as a whole, so its tensors are as far from each other as its records.
    starts = (min(sizes) - begin for begin in records)
    pages = [start for start in starts if start % mmap.PAGESIZE == 0]
    if not any(
        all(records.get(address - start) == size for address, size in sizes.items())
        for start in pages
    ):
        raise ValueError("a tensor is not as long as its record")


def _storages(document: Any) -> Iterator[Any]:
    """The storage of every dense tensor in a document, which may hold a part many times."""
    torch = _torch()
    left, seen = [document], {id(document)}
    while left:
        item = left.pop()
        inner: Iterable[Any] = ()
        if isinstance(item, torch.Tensor) and item.layout == torch.strided:
            if item.device.type == "cpu":
                yield item.untyped_storage()
        elif isinstance(item, Mapping):
            inner = item.values()
        elif isinstance(item, list | tuple):
            inner = item
        new = {id(value): value for value in inner if id(value) not in seen}
        seen.update(new)
        left += new.values()


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
        return to_numpy(tensor.resolve_neg().resolve_conj())
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
    notes = metadata.get("") if isinstance(metadata, Mapping) else None
    return notes if isinstance(notes, Mapping) else {}


def write_pt(path: Path, document: Any) -> None:
    """Write tensors and plain values as a .pt archive, whole or not at all."""
    torch = _torch()
    with replacing(path) as temporary, Sink(temporary) as file:
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
