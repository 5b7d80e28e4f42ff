"""Mutations of .safetensors files that stay files of that kind, more or less."""

import json
import struct

from tests.fuzzing import by_json

HUGE = (2**20, 2**28, 2**31, 2**32 + 1, 2**40, 2**61, 2**62, 2**63, 2**64, 10**30)
TYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "U8",
    "BOOL",
    "F8_E4M3",
    "C64",
    "F4",
    "X",
    "f32",
    "",
)


def parts(path):
    """Header and values of a file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def put(path, header, values, size=None):
    """Write a header, as text or not yet, and values."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + values)


def _entry(header, choice):
    return choice.choice([name for name in header if name != "__metadata__"])


def rename(path, choice, trap):
    header, values = parts(path)
    name = _entry(header, choice)
    new = choice.choice(
        (name + "_", name.upper(), "", "../up", "line\nbreak", name[:-1], "x" * 3000)
    )
    header[new] = header.pop(name)
    put(path, header, values)
    return f"{name} to {new[:30]!r}"


def drop(path, choice, trap):
    header, values = parts(path)
    entry = header.pop(_entry(header, choice))
    if choice.random() < 0.7:  # with its values, so that the rest is whole
        first, last = entry["data_offsets"]
        values = values[:first] + values[last:]
        for other in header.values():
            if "data_offsets" in other and other["data_offsets"][0] >= last:
                other["data_offsets"] = [one - last + first for one in other["data_offsets"]]
    put(path, header, values)


def add(path, choice, trap):
    header, values = parts(path)
    size = choice.choice((0, 1, 5))
    place = [len(values), len(values) + 4 * size]
    header["more"] = {"dtype": "F32", "shape": [size], "data_offsets": place}
    put(path, header, values + bytes(4 * size))


def shape(path, choice, trap):
    header, values = parts(path)
    entry = header[_entry(header, choice)]
    now, axis = entry["shape"], choice.randrange(max(1, len(entry["shape"])))
    changes = [
        now[::-1], [*now, 1], [1, *now], [], [0], [-1], [0, 2**62], [1] * 70, None, "3", [1.0],
        [True],
        [[3]], {}, now[:-1], [choice.choice(HUGE)], [choice.choice(HUGE)] * 3, [*now, 0, 2**63],
    ]  # fmt: skip
    if now:
        changes.append([*now[:axis], now[axis] + choice.choice((1, -1, 7)), *now[axis + 1 :]])
        changes.append([*now[:axis], choice.choice(HUGE), *now[axis + 1 :]])
    entry["shape"] = choice.choice(changes)
    put(path, header, values)
    return str(entry["shape"])[:60]


def huge(path, choice, trap):
    """A shape and places that agree with each other, but not with the file."""
    header, values = parts(path)
    entry = header[_entry(header, choice)]
    size = choice.choice(HUGE)
    entry["shape"], first = [size], entry["data_offsets"][0]
    entry["data_offsets"] = [first, first + 4 * size]
    put(path, header, values)
    return str(size)


def dtype(path, choice, trap):
    header, values = parts(path)
    header[_entry(header, choice)]["dtype"] = new = choice.choice((*TYPES, None, 3))
    put(path, header, values)
    return str(new)


def places(path, choice, trap):
    header, values = parts(path)
    one, other = header[_entry(header, choice)], header[_entry(header, choice)]
    how = choice.choice(("swap", "share", "shift", "odd", "reverse"))
    first, last = one["data_offsets"]
    if how == "swap":
        one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]
    elif how == "share":
        one["data_offsets"] = other["data_offsets"]
    elif how == "shift":
        step = choice.choice((1, -1, 4, -4, 2**40))
        one["data_offsets"] = [first + step, last + step]
    elif how == "reverse":
        one["data_offsets"] = [last, first]
    else:
        one["data_offsets"] = choice.choice(([], [0], [0, 1, 2], None, "0", [0, 2**64], [-4, 0]))
    put(path, header, values)
    return how


def metadata(path, choice, trap):
    header, values = parts(path)
    held = header.get("__metadata__") or {}
    how = choice.choice(("config", "config", "config", "format", "gone", "odd"))
    if how == "config" and "config" in held:
        text, what = by_json.text_of(json.loads(held["config"]), choice)
        header["__metadata__"] = {**held, "config": text.decode(errors="replace")}
        how = f"config: {what}"
    elif how == "gone":
        header.pop("__metadata__", None)
    elif how == "odd":
        header["__metadata__"] = choice.choice(([], "x", 3, {"format": 3}, {"config": None}, {}))
    else:
        names = ("tcnzoo", "tcnzoo-torch", "tcnzoo-mlx", "pt", "tcnzoo-", "x" * 3000, "")
        header["__metadata__"] = {**held, "format": choice.choice(names)}
    put(path, header, values)
    return how


def document(path, choice, trap):
    header, values = parts(path)
    text, how = by_json.text_of(header, choice)
    put(path, text, values)
    return how


def twins(path, choice, trap):
    header, values = parts(path)
    name = _entry(header, choice)
    text = json.dumps(header)[:-1] + f", {json.dumps(name)}: {json.dumps(header[name])}}}"
    put(path, text.encode(), values)


def length(path, choice, trap):
    header, values = parts(path)
    size = choice.choice((0, 1, 2, 2**20, 2**31, 2**32, 2**62, 2**63, 2**64 - 1))
    put(path, header, values, size)
    return str(size)


def payload(path, choice, trap):
    header, values = parts(path)
    first, last = header[_entry(header, choice)]["data_offsets"]
    new = choice.choice((b"\xff", b"\x00", b"\x7f", None))
    piece = choice.randbytes(last - first) if new is None else new * (last - first)
    put(path, header, values[:first] + piece + values[last:])


def values(path, choice, trap):
    header, held = parts(path)
    change = choice.choice((held[:-1], held[:-4], held + bytes(4), b"", held[4:]))
    put(path, header, change)


STRUCTURAL = (
    rename, drop, add, shape, shape, huge, dtype, places, metadata, metadata, metadata, document,
    twins, length, payload, values,
)  # fmt: skip
