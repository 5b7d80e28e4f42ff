"""Mutations of checkpoint directories, of one file or of shards."""

import json
import shutil

from tests.fuzzing import by_bytes, by_json, by_safetensors

CONFIG, TENSORS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
OUTSIDE = (
    "../secret", "../../secret", "/etc/passwd", "C:\\x.safetensors", "..\\x.safetensors",
    "../secret.safetensors",
    "", ".", "..", "x.safetensors", "model.safetensors", "line\nbreak.safetensors",
    "a\x00.safetensors", "config.json",
    "x" * 300 + ".safetensors", "sub/model.safetensors", "\\\\host\\share\\x.safetensors",
    "a:b.safetensors",
)  # fmt: skip


def _files(path):
    return sorted(one for one in path.iterdir() if one.is_file())


def _shards(path):
    return sorted(one for one in path.glob("*.safetensors") if one.is_file())


def config(path, choice, trap):
    file = path / CONFIG
    if not file.is_file():  # a change before this one has put a pipe there, say
        raise FileNotFoundError(file)
    text, how = by_json.text_of(json.loads(file.read_text()), choice)
    file.write_bytes(text)
    if choice.random() < 0.6:  # so that it is what counts
        for shard in _shards(path):
            header, values = by_safetensors.parts(shard)
            header["__metadata__"] = {"format": "pt"}
            by_safetensors.put(shard, header, values)
    return how


def tensors(path, choice, trap):
    change = choice.choice(by_safetensors.STRUCTURAL)
    how = change(choice.choice(_shards(path)), choice, trap)
    return f"{change.__name__}: {how}"


def file_bytes(path, choice, trap):
    file = choice.choice(_files(path))
    return f"{by_bytes.change_bytes(file, choice, trap)} in {file.name}"


def file_replaced(path, choice, trap):
    file, change = choice.choice(_files(path)), choice.choice(by_bytes.PLACES)
    change(file, choice, trap)
    return f"{change.__name__} for {file.name}"


def file_gone(path, choice, trap):
    file = choice.choice(_files(path))
    file.unlink()
    return file.name


def everything_gone(path, choice, trap):
    for file in _files(path):
        file.unlink()


def swapped(path, choice, trap):
    one, other = choice.choice(_files(path)), choice.choice(_files(path))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return f"{one.name} and {other.name}"


def linked_outside(path, choice, trap):
    file = choice.choice(_files(path))
    file.unlink()
    file.symlink_to(choice.choice((str(trap.secret), "../secret", "/dev/zero", ".", file.name)))
    return file.name


def more(path, choice, trap):
    name = choice.choice(
        (
            "model-00009-of-00009.safetensors",
            "x.bin",
            TENSORS,
            INDEX,
            "README.md",
            "pytorch_model.bin",
        )
    )
    if (path / name).exists():
        return file_gone(path, choice, trap)
    data = choice.choice((b"", b"{}", b"\x80\x04N.", _shards(path)[0].read_bytes()))
    (path / name).write_bytes(data)
    return name


def index(path, choice, trap):
    file = path / INDEX
    if not file.is_file():
        return tensors(path, choice, trap)
    document = json.loads(file.read_text())
    places = document["weight_map"]
    name = choice.choice(list(places))
    how = choice.choice(("where", "where", "all", "rename", "drop", "add", "text", "total"))
    if how == "where":
        places[name] = choice.choice((*OUTSIDE, *places.values()))
    elif how == "all":
        document["weight_map"] = dict.fromkeys(places, choice.choice(OUTSIDE))
    elif how == "rename":
        places[name + "_"] = places.pop(name)
    elif how == "drop":
        del places[name]
    elif how == "add":
        places["more"] = choice.choice((*OUTSIDE, *places.values(), 3, None, []))
    elif how == "total":
        document["metadata"] = choice.choice(
            ({}, {"total_size": -1}, {"total_size": 2**70}, [], None)
        )
    text = by_json.text_of(document, choice)[0] if how == "text" else json.dumps(document).encode()
    file.write_bytes(text)
    return how


def shard_copied(path, choice, trap):
    """One shard under the name of another, or a tensor in two shards."""
    one, other = choice.choice(_shards(path)), choice.choice(_shards(path))
    if one != other:
        shutil.copy(one, other)
    return f"{one.name} as {other.name}"


STRUCTURAL = (
    config, config, config, tensors, tensors, tensors, file_bytes, file_bytes, file_replaced,
    file_gone,
    everything_gone, swapped, linked_outside, more, index, index, index, shard_copied,
)  # fmt: skip
