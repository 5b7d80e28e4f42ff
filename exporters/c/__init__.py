"""C99: one file and its header, without dependencies and without allocation, for any processor.

`NAME` is the name of the file. `NAME_step` takes one sample of a stream and `NAME_steps` several;
all that lasts is in a `NAME_state` that the caller holds. See docs/c.md.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import Spec
from tcnzoo.streams.lowering import lower

from .compiled import COMPILER, compiler, facts_of, load, run_signal
from .source import identifier, source
from .writer import Cost

NAME = "c"
DESCRIPTION = "C99 file and header for any processor, one step of a stream, also int8"
SUFFIX = ".c"
PRECISIONS = ("float32", "int8")
NEEDS: dict[str, str] = {}
DYNAMIC = True
STREAMING = True
ALWAYS_STREAMING = True
BESIDE = ".h"
RANGES = False

# What `command` runs.
CODE = """\
import ctypes, numpy as np
net = ctypes.CDLL("./LIBRARY")
at = lambda array: array.ctypes.data_as(ctypes.c_void_p)
state = np.zeros(BYTES, "uint8")
rows = [np.load(name + ".npy").astype("float32") for name in NAMES]
rows = [np.ascontiguousarray(row[0].T if row.ndim > 1 else row) for row in rows]
y = np.zeros((len(rows[0]) * MOST, WIDTH), "float32")
net.NAME_reset(at(state))
print(y[: net.NAME_steps(at(state), *map(at, rows), len(rows[0]), at(y))].T)
"""


def can_run() -> str | None:
    """Why files cannot be run on this machine: it has no compiler."""
    if compiler() is None:
        return f"there is no C compiler ({COMPILER}) on this machine, so the file was not run"
    return None


def export(spec: Spec, weights: Weights, path: Path, options: ExportOptions) -> tuple[str, ...]:
    """Write a model, and the header beside it.

    Returns:
        Notes: the sizes, and how many kernels are in int8.
    Raises:
        InputError: an option that a C file does not have, or int8 for a model without a kernel that
            takes it.
        SpecError: a model that cannot stream, or a part without a step in C.
        WeightError: weights that are not finite.
    """
    _check(weights, path, options)
    int8 = options.precision == "int8"
    try:
        program = lower(spec, weights)
    except SpecError as error:
        reason = str(error).partition(";")[0]
        raise SpecError(
            f"a C file cannot hold this {spec.kind}: {reason}; export to onnx"
        ) from None
    written = source(program, path.stem, f"A {spec.kind}", int8)
    if int8 and not written.int8:
        raise InputError(
            "this model has no kernel that int8 is for: those that read the input, or that have "
            "groups, stay float32; export it with precision float32"
        )
    path.write_text(written.code, "utf-8")
    path.with_suffix(BESIDE).write_text(written.header, "utf-8")
    total = written.total
    sizes = (
        f"flash {total.flash:,} bytes of constants, RAM {total.ram:,} bytes, "
        f"{round(total.products):,} multiply-adds a sample{_at_most(total)}"
    )
    return (sizes, f"{written.int8} kernels are int8") if int8 else (sizes,)


def _at_most(total: Cost) -> str:
    """The most that one sample takes, where that is more than the mean."""
    return "" if total.most == total.products else f" in the mean and {total.most:,} at most"


def _check(weights: Weights, path: Path, options: ExportOptions) -> None:
    """Raise InputError or WeightError for what no C file is written of."""
    if options.batch_size != 1:
        raise InputError(
            f"a C file holds one stream at a time, but batch_size is {options.batch_size}; "
            "leave it out"
        )
    if path.suffix != SUFFIX or not path.name.isprintable() or set(path.name) & set('"\\'):
        raise InputError(
            f"a C file needs a name in {SUFFIX} without quotes or backslashes, which its code "
            f"names, but got {path.name!r}"
        )
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise WeightError(
                f"weight {name!r} holds NaN or infinity, which a C file does not take"
            )


def run(path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()) -> Output:
    """Compile a file with the system's compiler and stream signals through it, one by one."""
    net = load(path)
    outputs = [
        run_signal(net, signal, [array[number] for array in embeddings])
        for number, signal in enumerate(x)
    ]
    return np.stack(outputs)


def command(path: Path, options: ExportOptions) -> str:
    """The compiler, then Python with numpy alone; an input is a .npy file of the input's name."""
    facts = facts_of(path)
    library = f"{path.stem}.so"
    values = {
        "LIBRARY": library, "BYTES": str(facts["ram"]), "MOST": str(facts["output"]["most"]),
        "WIDTH": str(facts["output"]["channels"]),
        "NAMES": json.dumps([one["name"] for one in facts["inputs"]]),
    }  # fmt: skip
    code = CODE.replace("net.NAME_", f"net.{identifier(path.stem)}_")
    for name, value in values.items():
        code = code.replace(name, value)
    compile_it = f"cc -O3 -march=native -shared -fPIC {shlex.quote(str(path))}"
    return f"{compile_it} -o {shlex.quote(library)} -lm && python -c {shlex.quote(code.strip())}"
