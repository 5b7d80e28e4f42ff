"""Mutations of torch's archives: hostile pickles, and state_dicts that are none."""

import collections
import io
import json
import pickle
import zipfile

from tests.fuzzing import by_bytes, by_json, by_zip
from tests.fuzzing.code import CALLS, Code
from tests.fuzzing.opcodes import handwritten

# Whole numbers as opcodes of a pickle, of all widths.
NUMBERS = (
    b"K\x00", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f",
    b"\x8a\x05" + bytes(4) + b"\x01", b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"\x8b\xff\xff\xff\x7f",
)  # fmt: skip


def _torch():
    import torch

    return torch


def _load(path):
    from tcnzoo.weights_convert.containers.pickled import numbers_allowed

    with numbers_allowed():
        return _torch().load(path, map_location="cpu", weights_only=True)


def _save(path, document, **options):
    # Into memory first, since torch names the folder in the archive after the file.
    file = io.BytesIO()
    _torch().save(document, file, **options)
    path.write_bytes(file.getvalue())


def _holders(document):
    """Every dictionary with a tensor in it."""
    inner = [
        one for value in document.values() if isinstance(value, dict) for one in _holders(value)
    ]
    tensors = any(isinstance(value, _torch().Tensor) for value in document.values())
    return [document] * tensors + inner


def _one(path, choice):
    """The document, one of its state_dicts, and the name of one of the tensors in that."""
    document = _load(path)
    held = choice.choice(_holders(document))
    tensors = [name for name, value in held.items() if isinstance(value, _torch().Tensor)]
    return document, held, choice.choice(tensors)


def code(path, choice, trap):
    document, held, name = _one(path, choice)
    made = Code(str(trap.sentinel), choice.choice(CALLS))
    where = choice.choice(("beside", "instead", "key", "alone", "metadata"))
    if where == "beside":
        held["more"] = made
    elif where == "instead":
        held[name] = made
    elif where == "key":
        held[(made,)] = held.pop(name)
    elif where == "metadata":
        holder = collections.OrderedDict(held)
        holder._metadata = {"": made}
        document = holder if held is document else {**document, "state_dict": holder}
    _save(path, made if where == "alone" else document, pickle_protocol=choice.choice((2, 3, 4, 5)))
    return where


def bare(path, choice, trap):
    """A pickle that is no archive."""
    document = choice.choice((Code(str(trap.sentinel)), {"weight": [1.0]}, {}, []))
    path.write_bytes(pickle.dumps(document, choice.choice((0, 2, 4, 5))))


def legacy(path, choice, trap):
    document, _, _ = _one(path, choice)
    if choice.random() < 0.5:
        document["more"] = Code(str(trap.sentinel))
    _save(path, document, _use_new_zipfile_serialization=False)


def opcodes(path, choice, trap):
    """A pickle that is written by hand, in place of the archive's or beside it."""
    made = choice.choice(handwritten(f"touch '{trap.sentinel}'"))
    held, comment = by_zip.members(path)
    place = [name.endswith("data.pkl") for name, _ in held].index(True)
    how = choice.choice(("instead", "instead", "instead", "beside", "before", "inside"))
    name, old = held[place]
    if how == "instead":
        held[place] = (name, made)
    elif how == "inside":  # at a value, so that the rest may still be whole
        at = old.find(b"X", 20)
        held[place] = (
            name,
            old[:at] + made.removeprefix(b"\x80\x02").removesuffix(b".") + old[at:],
        )
    else:
        other = choice.choice(
            ("other/data.pkl", "DATA.PKL", name.upper(), "data.pkl", "archive/.data/constants.pkl")
        )
        held.insert(0 if how == "before" else len(held), (other, made))
    by_zip.put(path, held, comment)
    return f"{how} {made[:40]!r}"


def _edited(path, change):
    """The archive with a change of its pickle."""
    held, comment = by_zip.members(path)
    place = [name.endswith("data.pkl") for name, _ in held].index(True)
    name, data = held[place]
    held[place] = (name, change(data))
    by_zip.put(path, held, comment)


def numbers(path, choice, trap):
    """A whole number in the pickle, a size or a stride or a place, is another."""
    new = choice.choice((*NUMBERS, bytes([75, choice.randrange(256)])))

    def change(data):
        small = [place for place in range(len(data) - 1) if data[place : place + 1] == b"K"]
        place = choice.choice(small)
        return data[:place] + new + data[place + 2 :]

    _edited(path, change)
    return new.hex()


def names(path, choice, trap):
    """A word in the pickle is another of the same length, or the same storage is used twice."""
    words = (
        (b"FloatStorage", b"LongStorage\n", b"FloatStorage"), (b"cpu", b"xpu", b"gpu"), (b"cpu",
        b"meta"[:3]),
        (b"storage", b"storagE"), (b"weight", b"wieght"), (b"bias", b"bais"), (b"FloatStorage",
        b"FloatSt\nrage"),
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v3"), (b"OrderedDict", b"defaultdict"), (b"0",
        b"1"), (b"1", b"0"),
        (b"format", b"farmot"), (b"spec", b"sepc"), (b"torch", b"tarch"), (b"FloatStorage",
        b"BoolStorage\n"),
    )  # fmt: skip
    old, new, *_ = choice.choice(words)
    once = choice.random() < 0.5
    _edited(path, lambda data: data.replace(old, new, 1 if once else -1))
    return f"{old!r} to {new!r}"


def notes(path, choice, trap):
    """The configuration in a document of ours, or in the notes of the state_dict."""
    document = _load(path)
    noted = [one._metadata for one in _holders(document) if getattr(one, "_metadata", None)]
    found = [held for held in (document, *(one.get("", {}) for one in noted)) if "config" in held]
    if not found:
        return keys(path, choice, trap)
    if isinstance(found[0]["config"], str):
        text, how = by_json.text_of(json.loads(found[0]["config"]), choice)
        found[0]["config"] = text.decode(errors="replace")
    else:
        found[0]["config"], how = by_json.changed(found[0]["config"], choice)
    if choice.random() < 0.1:
        found[0]["config"] = choice.choice((None, 3, [], b"x", {"a": 1}))
    elif noted and choice.random() < 0.1:
        noted[0][""] = choice.choice((None, 3, [], {3: {}}))
    elif choice.random() < 0.1:
        found[0]["format"] = choice.choice((None, 3, "tcnzoo", "tcnzoo-mlx", "tcnzoo-", "x", ["x"]))
    _save(path, document)
    return how


def keys(path, choice, trap):
    document, held, name = _one(path, choice)
    how = choice.choice(("rename", "drop", "add", "swap", "odd"))
    if how == "rename":
        new = (
            name + "_",
            name.upper(),
            "",
            "line\nbreak",
            name + ".weight",
            "x" * 3000,
            name[1:],
            "../up",
        )
        held[choice.choice(new)] = held.pop(name)
    elif how == "drop":
        del held[name]
    elif how == "add":
        more = (
            _torch().ones(2),
            None,
            3.0,
            "x",
            {},
            [],
            held[name],
            {"deep": held[name]},
            True,
            b"x",
        )
        held[choice.choice(("more", name + "_", "network.9.conv1.weight"))] = choice.choice(more)
    elif how == "swap":
        other = choice.choice(list(held))
        held[name], held[other] = held[other], held[name]
    else:
        held[choice.choice((0, None, 1.5, (1, 2), True, b"x"))] = held.pop(name)
    _save(path, document)
    return f"{how} {name}"


def tensors(path, choice, trap):
    """One of the tensors is of another shape, type or kind."""
    document, held, name = _one(path, choice)
    torch = _torch()
    old = held[name]
    changes = {
        "flat": lambda: old.flatten(), "turned": lambda: old.reshape(old.shape[::-1]),
        "axis": lambda: old[None], "scalar": lambda: torch.tensor(1.0),
        "none": lambda: old.flatten()[:0],
        "double": lambda: old.double(), "half": lambda: old.half(),
        "bfloat16": lambda: old.bfloat16(),
        "int": lambda: old.int(), "bool": lambda: old.bool(),
        "complex": lambda: old.to(torch.complex64),
        "float8": lambda: old.to(torch.float8_e4m3fn), "sparse": lambda: old.to_sparse(),
        "meta": lambda: old.to("meta"), "nan": lambda: torch.full_like(old.float(), float("nan")),
        "infinite": lambda: torch.full_like(old.float(), float("inf")),
        "repeated": lambda: torch.ones(1).expand(choice.choice((2**20, 2**29, 2**40))),
        "repeated as it was": lambda: torch.ones(1).expand(old.shape),
        "strided": lambda: torch.cat([old, old], -1)[..., ::2] if old.dim() else old,
        "transposed": lambda: old.transpose(0, -1) if old.dim() else old,
        "quantized": lambda: torch.quantize_per_tensor(old.float(), 0.1, 0, torch.qint8),
        "parameter": lambda: torch.nn.Parameter(old.float()),
        "shared": lambda: next(iter(held.values())),
        "conjugate": lambda: old.to(torch.complex64).conj(), "empty axes": lambda: torch.ones(0,
        2**40),
        "overlapping": lambda: old.flatten().as_strided((2, old.numel()), (0, 1)),
        "list": lambda: [old], "number": lambda: 3.0, "dictionary": lambda: {"x": old},
        "nothing": lambda: None,
        "gradient": lambda: old.float().requires_grad_(), "negated": lambda: torch._neg_view(old),
        "numbered": lambda: old.tolist(),
        "nested": lambda: {"a": {"b": {"c": {"d": {"e": {"f": old}}}}}},
        "size": lambda: old.shape, "device": lambda: torch.device("cpu"),
        "type": lambda: torch.float32,
    }  # fmt: skip
    how = choice.choice(tuple(changes))
    held[name] = changes[how]()
    _save(path, document)
    return f"{how} {name}"


def document(path, choice, trap):
    """Something else than a state_dict, or a state_dict somewhere else."""
    import warnings

    torch = _torch()
    whole = _load(path)
    itself = {}
    itself["itself"] = itself
    made = choice.choice((
        [], {}, None, 3, "text", torch.ones(2), list(whole.values()), {"state_dict": whole},
        {"a": whole, "b": whole}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": whole}}}}}}},
        {"epoch": 3},
        [whole], (whole,), itself, {**whole, "itself": itself}, {"model_state_dict": whole,
        "optimizer": {"lr": 0.1}},
        {f"module.{name}": value for name, value in whole.items()}, {3: whole}, {None: whole},
        {"": whole},
    ))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _save(path, made)
    return str(type(made))


def record(path, choice, trap):
    """The bytes of a tensor, or one of the notes that torch puts beside them."""
    held, comment = by_zip.members(path)
    places = [place for place, (name, _) in enumerate(held) if not name.endswith("data.pkl")]
    place = choice.choice(places)
    name, data = held[place]
    new = choice.choice((
        b"", data[:-1], data[: len(data) // 2], data + bytes(4), data * 100, b"\xff" * len(data),
        b"big", b"little",
        b"9999", b"-1", b"x" * 100, by_bytes.mutated(data, choice)[0],
    ))  # fmt: skip
    held[place] = (name, new)
    by_zip.put(path, held, comment)
    return f"{name} of {len(new)} bytes"


def script(path, choice, trap):
    """What makes torch take an archive for a program."""
    held, comment = by_zip.members(path)
    folder = held[0][0].partition("/")[0]
    made = f"def __setstate__(self, x): open('{trap.sentinel}', 'w')\n".encode()
    more = [(f"{folder}/constants.pkl", b"\x80\x02)."), (f"{folder}/code/__torch__.py", made)]
    by_zip.put(path, held + more[: choice.choice((1, 2))], comment)


def deflated(path, choice, trap):
    held, comment = by_zip.members(path)
    by_zip.put(path, held, comment, zipfile.ZIP_DEFLATED)


STRUCTURAL = (
    code, code, bare, legacy, opcodes, opcodes, opcodes, opcodes, numbers, numbers, numbers, names,
    notes, notes, keys, keys, tensors, tensors, tensors, document, record, record, script, deflated,
)  # fmt: skip
