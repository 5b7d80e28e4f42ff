#!/usr/bin/env bash
# numba 0.68.1 (llvmlite 0.50.0) makes vector instructions of a running sum under fastmath=True, and
# none of a running maximum: not of max(), of a comparison, of np.maximum, nor of np.fmax. The inner
# loop of a Viterbi recursion, the largest of a[i] + b[i], thus runs one value at a time. A maximum
# that is declared as LLVM's own operation (llvm.maxnum, by numba.extending.intrinsic) becomes vectors.
# Seen on Linux, x86-64, Python 3.11, as packed and single instructions in the machine code:
#
#   sum: packed adds
#   max(), if, np.maximum, np.fmax: no packed maximum
#   llvm.maxnum: packed maxima
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6

"$place/venv/bin/python" - <<'PYTHON'
import platform
import re

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

assert platform.machine() == "x86_64", "the instructions are those of x86-64"


@intrinsic
def larger(context, a, b):
    """The larger of two numbers, as LLVM's own operation."""

    def generate(context, builder, signature, values):
        double = ir.DoubleType()
        kind = ir.FunctionType(double, [double, double])
        operation = builder.module.declare_intrinsic("llvm.maxnum", [double], kind)
        return builder.call(operation, values, fastmath=("nnan", "nsz"))

    return types.float64(types.float64, types.float64), generate


def by_sum(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] + b[i]
    return total


def by_max(a, b):
    largest = -1e300
    for i in range(len(a)):
        largest = max(largest, a[i] + b[i])
    return largest


def by_if(a, b):
    largest = -1e300
    for i in range(len(a)):
        value = a[i] + b[i]
        if value > largest:
            largest = value
    return largest


def by_maximum(a, b):
    largest = -1e300
    for i in range(len(a)):
        largest = np.maximum(largest, a[i] + b[i])
    return largest


def by_fmax(a, b):
    largest = -1e300
    for i in range(len(a)):
        largest = np.fmax(largest, a[i] + b[i])
    return largest


def by_intrinsic(a, b):
    largest = -1e300
    for i in range(len(a)):
        largest = larger(largest, a[i] + b[i])
    return largest


a = np.random.default_rng(0).standard_normal(1000)
packed = {}
for loop in (by_sum, by_max, by_if, by_maximum, by_fmax, by_intrinsic):
    compiled = numba.njit(fastmath=True)(loop)
    expected = (a + a[::-1]).sum() if loop is by_sum else (a + a[::-1]).max()
    assert np.isclose(compiled(a, a[::-1].copy()), expected)
    code = next(iter(compiled.inspect_asm().values()))
    instruction = "addpd" if loop is by_sum else "maxpd"
    packed[loop.__name__] = len(re.findall(rf"\bv?{instruction}\b", code))
    print(f"{loop.__name__}: {packed[loop.__name__]} packed {instruction}")

assert packed.pop("by_sum") > 0 and packed.pop("by_intrinsic") > 0
assert not any(packed.values()), packed
PYTHON
