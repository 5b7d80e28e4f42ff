"""Mutations of HDF5 files that stay such files, and of those inside .keras archives."""

import io
import json
import struct

import numpy as np

from tests.fuzzing import by_json, by_zip
from tests.fuzzing.by_h5_links import deep, elsewhere, group_link, link, many, twice
from tests.fuzzing.h5_parts import found, groups, library, put

HUGE = (2**28, 2**31, 2**40, 2**60)
TYPES = (
    "f8",
    "f2",
    ">f4",
    "i4",
    "u1",
    "b1",
    "S4",
    "V8",
    "V2",
    "c8",
    "i8",
    "O",
    [("a", "f4")],
    [("r", "f4"), ("i", "f4")],
)


def _move(file, name, new):
    """Rename, in place of what has the name."""
    if new != name and not name.startswith(f"{new}/"):
        file.pop(new, None)
        file.move(name, new)


def _renamed(file, choice, trap):
    name = choice.choice(found(file))
    new = choice.choice(
        (
            name + "_",
            name.upper(),
            "x",
            "vars/9",
            "vars/0",
            name + "/deep",
            "line\nbreak",
            "é",
            ".x",
        )
    )
    if new.startswith(name + "/"):
        _move(file, name, "kept")
        _move(file, "kept", new)
    else:
        _move(file, name, new)
    return f"{name} to {new!r}"


def _group_renamed(file, choice, trap):
    name = choice.choice(groups(file)[1:] or ["vars"])
    if name in file:
        _move(file, name, choice.choice((name + "_", "vars2", "0", "layers", name.upper())))
    return name


def _dropped(file, choice, trap):
    name = choice.choice(found(file) + groups(file)[1:])
    del file[name]
    return name


def _added(file, choice, trap):
    group = file[choice.choice(groups(file))]
    name = choice.choice(("more", "0", "9", "kernel", "vars", "optimizer"))
    if name not in group:
        group[name] = choice.choice(
            (np.ones((2, 3), np.float32), 3.0, "text", np.zeros(0, np.float32))
        )
    return name


def _shape(file, choice, trap):
    name = choice.choice(found(file))
    shape = file[name].shape or ()
    new = choice.choice(
        (shape[::-1], (*shape, 1), (), (0,), (1,), shape[:-1], (3, 0, 2), (*shape, 2), (1,) * 32)
    )
    put(file, name, data=np.ones(new, np.float32))
    return f"{name} {new}"


def _huge(file, choice, trap):
    name, size = choice.choice(found(file)), choice.choice(HUGE)
    shape = choice.choice(((size,), (size, 2), (2, size)))
    how = choice.choice(("chunks", "late", "filled", "packed", "growing"))
    options = {
        "chunks": {"chunks": tuple(min(one, 1024) for one in shape)}, "late": {},
        "filled": {"fillvalue": 1.0},
        "packed": {"chunks": tuple(min(one, 1024) for one in shape), "compression": "gzip"},
        "growing": {"chunks": tuple(min(one, 64) for one in shape), "maxshape": (None,
        ) * len(shape)},
    }[how]  # fmt: skip
    put(file, name, shape=shape, dtype="f4", **options)
    return f"{name} {shape} {how}"


def _type(file, choice, trap):
    name, new = choice.choice(found(file)), choice.choice(TYPES)
    shape = file[name].shape or ()
    h5py = library()
    if new == "O":
        kind = choice.choice((h5py.string_dtype(), h5py.vlen_dtype(np.float32), h5py.ref_dtype))
        put(file, name, shape=shape, dtype=kind)
    else:
        put(file, name, data=np.zeros(shape, new))
    return f"{name} {new}"


def _odd_type(file, choice, trap):
    name, h5py = choice.choice(found(file)), library()
    shape = file[name].shape or ()
    kind = choice.choice(
        (
            h5py.enum_dtype({"a": 1}),
            np.dtype(("f4", (2,))),
            h5py.opaque_dtype("M8[s]"),
            h5py.regionref_dtype,
        )
    )
    if choice.random() < 0.2:
        del file[name]
        file[name] = np.dtype("f4")
    elif choice.random() < 0.3:
        put(file, name, data=h5py.Empty("f4"))
    else:
        put(file, name, shape=shape, dtype=kind)
    return f"{name} {kind}"


def _packed(file, choice, trap):
    name = choice.choice(found(file))
    data = np.asarray(file[name])
    if data.ndim == 0 or data.dtype.hasobject:
        return _shape(file, choice, trap)
    how = choice.choice(("gzip", "shuffle", "checksum", "bomb", "noise", "noise", "chunks"))
    if how == "bomb":
        stream, _ = by_zip.zeros(1024)
        put(file, name, shape=(2**28,), dtype="f4", compression="gzip", chunks=(2**28,))
        # 1 is what zlib's sum of so many zeros comes to below, and their number above.
        ended = struct.pack(">L", (2**30 % 65521) << 16 | 1)
        file[name].id.write_direct_chunk((0,), b"\x78\x9c" + stream + ended)
    elif how == "noise":
        put(file, name, data=data, compression="gzip", chunks=data.shape)
        file[name].id.write_direct_chunk((0,) * data.ndim, data.nbytes * b"x")
    else:
        options = {
            "gzip": {"compression": "gzip"}, "shuffle": {"shuffle": True},
            "checksum": {"fletcher32": True},
            "chunks": {"chunks": (1,) * data.ndim},
        }[how]  # fmt: skip
        put(file, name, data=data, **options)
    return f"{name} {how}"


def _values(file, choice, trap):
    name = choice.choice(found(file))
    dataset = file[name]
    if dataset.dtype.kind == "f" and dataset.size:
        dataset[...] = choice.choice((np.nan, np.inf, 0.0, 1e38))
    return name


def _label(file, choice, trap):
    item = file[choice.choice(found(file) + groups(file))]
    name = choice.choice(("dtype", "format", "layer_names", "weight_names", "name", *item.attrs))
    new = choice.choice((
        "bfloat16", "", "tcnzoo-mlx", "x" * 20_000, 3, np.ones((2, 2)), b"\xff\xfe", np.array(["a",
        "b"], "S1"),
        library().Empty("S1"), np.array([b"../up"]), 2.5, np.zeros(0),
    ))  # fmt: skip
    item.attrs[name] = new
    return f"{name} {str(new)[:30]!r}"


def _unlabelled(file, choice, trap):
    items = [file[name] for name in found(file) + groups(file)]
    items = [item for item in items if len(item.attrs)] or [file]
    item = choice.choice(items)
    for name in choice.sample(list(item.attrs), min(1, len(item.attrs))):
        del item.attrs[name]
    return item.name


def _configuration(file, choice, trap):
    """The text of our configuration, or that of an older Keras model."""
    if "tcnzoo_config" in file:
        text, how = by_json.text_of(json.loads(np.asarray(file["tcnzoo_config"]).tobytes()), choice)
        put(file, "tcnzoo_config", data=np.frombuffer(text, np.uint8))
        return how
    if "model_config" in file.attrs:
        text, how = by_json.text_of(json.loads(file.attrs["model_config"]), choice)
        del file.attrs["model_config"]
        file.create_dataset("text", data=np.void(text)) if len(text) > 60_000 else None
        file.attrs["model_config"] = text[:60_000].replace(b"\0", b" ").decode(errors="replace")
        return how
    return _label(file, choice, trap)


CHANGES = (
    _renamed, _renamed, _group_renamed, _dropped, _dropped, _added, _shape, _shape, _huge, _huge,
    _type, _odd_type,
    _packed, _packed, link, group_link, elsewhere, twice, _values, _label, _label, _unlabelled,
    _configuration,
    _configuration, _configuration, deep, many,
)  # fmt: skip


def _changed(data, choice, trap):
    """Bytes of a changed file; a file on disk might change once more when it is given up."""
    change, held = choice.choice(CHANGES), io.BytesIO(data)
    with library().File(held, "r+") as file:
        how = change(file, choice, trap)
    return held.getvalue(), f"{change.__name__.strip('_')}: {how}"


def structure(path, choice, trap):
    data, how = _changed(path.read_bytes(), choice, trap)
    path.write_bytes(data)
    return how


def userblock(path, choice, trap):
    data = path.read_bytes()
    path.write_bytes(bytes(512) + data)


def inside(path, choice, trap):
    """A change of the weights in a .keras archive."""
    held, comment = by_zip.members(path)
    place = [name.endswith(".h5") for name, _ in held].index(True)
    data, how = _changed(held[place][1], choice, trap)
    held[place] = (held[place][0], data)
    by_zip.put(path, held, comment)
    return how


STRUCTURAL = (structure,) * 15 + (userblock,)
KERAS = (*by_zip.ANY, *(inside,) * 15, *(by_zip.configuration,) * 8)
