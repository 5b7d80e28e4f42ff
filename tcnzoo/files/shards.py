"""The tensors of a checkpoint directory: one .safetensors file, or several shards and their index.

`model.safetensors.index.json` holds `weight_map` (tensor -> name of its shard) and
`metadata.total_size` in bytes, as Hugging Face's libraries write and read it. Where
`model.safetensors` is there as well, it is what counts.
"""

import json
import os
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.atomic import settle_committed
from tcnzoo.files.lazy import Facts, LazyTensors, Tensors, facts_of, picked
from tcnzoo.files.safetensors import open_safetensors, put_safetensors

TENSORS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# What huggingface_hub takes where nothing is said.
LARGEST_SHARD = "5GB"
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B)?", re.IGNORECASE | re.ASCII)
_SHARD = re.compile(r"model(-[a-z])?-\d{5,}-of-\d{5,}\.safetensors")


def size_in_bytes(size: int | str) -> int:
    """Read a size: bytes, or text such as `5GB`, `500 MB` (powers of 1000) or `1.5GiB` (of 1024).

    Raises:
        InputError: something else, or less than one byte.
    """
    match = _SIZE.fullmatch(str(size).strip())
    unit = (match[2] or "B").upper() if match else ""
    if match is None or unit not in UNITS or float(match[1]) * UNITS[unit] < 1:
        raise InputError(f"a shard's size is a number of bytes or such as 500MB, but got {size!r}")
    return int(float(match[1]) * UNITS[unit])


def has_tensors(directory: Path) -> bool:
    """Whether there is a file of tensors, or an index of several."""
    return (directory / TENSORS).is_file() or (directory / INDEX).is_file()


def open_tensors(directory: Path) -> tuple[LazyTensors, dict[str, str]]:
    """The tensors of a directory, mapped as they are asked for, and the metadata of their files.

    Raises:
        InputError: there are none.
        WeightError: a broken file, or shards that are not what the index says.
    """
    settle_committed(directory)
    if (directory / TENSORS).is_file():
        return open_safetensors(directory / TENSORS)
    if not (directory / INDEX).is_file():
        raise InputError(f"no checkpoint at {str(directory)!r}: {TENSORS} is not there")
    weight_map = _weight_map(directory / INDEX)
    shards: dict[str, LazyTensors] = {}
    facts: dict[str, Facts] = {}
    first: dict[str, str] | None = None
    for shard in dict.fromkeys(weight_map.values()):
        shards[shard], metadata = _open_shard(directory, shard, weight_map)
        first = metadata if first is None else first
        if metadata != first:
            raise WeightError(
                f"the shards of {str(directory)!r} are of different checkpoints: the header of "
                f"{shard!r} is not that of {next(iter(shards))!r}"
            )
        facts |= shards[shard].facts
    ordered = {name: facts[name] for name in weight_map}
    return LazyTensors(ordered, lambda name: shards[weight_map[name]][name]), first or {}


def _weight_map(path: Path) -> dict[str, str]:
    """Tensor -> shard, from an index whose shards lie beside it."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightError(f"{str(path)!r} is not valid JSON: {error}") from None
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not all(
        isinstance(file, str) for file in weight_map.values()
    ):
        raise WeightError(f"{str(path)!r} must hold a 'weight_map' of tensors to files")
    for shard in dict.fromkeys(weight_map.values()):
        if PureWindowsPath(shard).name != shard or not shard.endswith(".safetensors"):
            raise WeightError(
                f"{str(path)!r} is refused: {shard!r} is not the name of a .safetensors file "
                "beside it"
            )
    return weight_map


def _open_shard(
    directory: Path, shard: str, weight_map: Mapping[str, str]
) -> tuple[LazyTensors, dict[str, str]]:
    """Open a shard that holds the tensors that the index says, and no others."""
    path = directory / shard
    if not os.path.isfile(path):  # which a name that no file can have is not either
        raise WeightError(f"{str(directory / INDEX)!r} names {shard!r}, which is not there")
    tensors, metadata = open_safetensors(path)
    wanted = {name for name, where in weight_map.items() if where == shard}
    for name in sorted(wanted - tensors.facts.keys()):
        raise WeightError(f"tensor {name!r} is not in {str(path)!r}, where the index has it")
    for name in sorted(tensors.facts.keys() - wanted):
        where = f"has it in {weight_map[name]!r}" if name in weight_map else "does not know it"
        raise WeightError(f"tensor {name!r} is in {str(path)!r}, but the index {where}")
    return tensors, metadata


def put_tensors(
    files: Path, directory: Path, tensors: Tensors, metadata: Mapping[str, str], largest: int
) -> None:
    """Write the tensors that are to be those of a directory.

    Args:
        files: an empty directory, of `replacing_directory`.
        directory: that they are meant for; shards get names that no file in it has, so that the
            index, which comes last, never names the old ones.
        tensors: lazy or not; one is read at a time.
        metadata: text for the header of every file.
        largest: bytes of values that a shard may have, if it has more than one tensor.
    """
    parts = _split(facts_of(tensors), largest)
    if len(parts) == 1:
        put_safetensors(files / TENSORS, tensors, metadata)
        return
    shards = dict(zip(_free_names(directory, len(parts)), parts, strict=True))
    for shard, names in shards.items():
        put_safetensors(files / shard, picked(tensors, {n: n for n in names}), metadata)
    total = sum(fact.nbytes for fact in facts_of(tensors).values())
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    document: dict[str, Any] = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (files / INDEX).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def superseded(directory: Path, fresh: Iterable[str]) -> list[str]:
    """Names of the old tensors: the index or file of another layout, then shards of no index.

    Args:
        directory: where they are.
        fresh: names of the files that are written.
    """
    other = INDEX if TENSORS in fresh else TENSORS
    files = [other] if (directory / other).is_file() else []
    return files + sorted(
        path.name
        for path in directory.glob("model-*.safetensors")
        if _SHARD.fullmatch(path.name) and path.name not in fresh
    )


def _split(facts: Mapping[str, Any], largest: int) -> list[list[str]]:
    """Names of the tensors of each file, in order; a tensor that is too large has its own."""
    parts: list[list[str]] = [[]]
    room = largest
    for name, fact in facts.items():
        if parts[-1] and fact.nbytes > room:
            parts.append([])
            room = largest
        parts[-1].append(name)
        room -= fact.nbytes
    return parts


def _free_names(directory: Path, count: int) -> list[str]:
    """Names for shards, under which there are no files yet."""
    for letter in ("", *(f"-{character}" for character in string.ascii_lowercase)):
        names = [f"model{letter}-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
        if not any((directory / name).exists() for name in names):
            return names
    raise InputError(f"{str(directory)!r} holds too many old shards; choose another directory")
