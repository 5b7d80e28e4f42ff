"""A tuned BLAS for MLX on Linux: loaded without being asked for, right, and for MLX alone."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tcnzoo.extras import missing_package

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or missing_package("mlx") is not None, reason="needs MLX on Linux"
)

NEEDS_OPENBLAS = pytest.mark.skipif(
    importlib.util.find_spec("scipy_openblas32") is None,
    reason="needs the package scipy-openblas32",
)

REPORT = """
import json
import numpy as np
import tcnzoo.backends.mlx as backend
import mlx.core as mx
blas = backend.current_blas()
errors = []
for dtype in ("float32", "float64", "complex64"):
    generator = np.random.default_rng(0)
    for rows, inner, columns in ((1, 7, 5), (33, 1, 2), (65, 130, 67), (3, 300, 1)):
        a = generator.standard_normal((rows, inner)).astype(dtype)
        b = generator.standard_normal((columns, inner)).astype(dtype)
        if dtype == "complex64":
            a, b = a + 1j * a[::-1], b - 1j * b[:, ::-1]
        exact = a.astype("complex128") @ b.T
        with mx.stream(mx.cpu):
            kind = getattr(mx, dtype)
            y = np.array(mx.array(a, kind) @ mx.array(b, kind).T)
        errors.append(float(abs(y - exact).max() / abs(exact).max()) / np.finfo(dtype).eps)
print(json.dumps([blas.tuned, blas.name, blas.advice, float(max(errors))]))
"""


def _run(code, **environment):
    """What a fresh process prints, as JSON."""
    unset = ("LD_PRELOAD", "TCNZOO_MLX_BLAS", "OPENBLAS_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    result = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


# Roundings of a sum of 300 products, in units of the last place.
ROUNDINGS = 40


@NEEDS_OPENBLAS
@pytest.mark.parametrize("threads", [None, "2"])
def test_products_run_on_openblas_and_are_right(threads):
    chosen = {} if threads is None else {"OPENBLAS_NUM_THREADS": threads}
    tuned, name, advice, error = _run(REPORT, **chosen)
    assert (tuned, advice) == (True, None)
    assert "OpenBLAS" in name
    assert name.endswith("on 1 thread" if threads is None else "on 2 threads")
    assert error < ROUNDINGS


def test_switched_off_products_run_on_what_mlx_brings():
    tuned, name, advice, error = _run(REPORT, TCNZOO_MLX_BLAS="0")
    assert error < ROUNDINGS
    if not tuned:  # MLX may be built with a fast one
        assert "TCNZOO_MLX_BLAS=0" in name
        assert advice == "unset TCNZOO_MLX_BLAS"


@NEEDS_OPENBLAS
def test_program_that_multiplied_with_mlx_before_gets_it_too():
    first = "import mlx.core\nmlx.core.eval(mlx.core.ones((3, 4)) @ mlx.core.ones((4, 5)))\n"
    tuned, name, advice, error = _run(first + REPORT)
    assert (tuned, advice) == (True, None)
    assert error < ROUNDINGS


@pytest.mark.parametrize(
    "change, reason",
    [
        ("blas.SYSTEM = blas.PACKAGE = 'no_such_library'", "scipy-openblas32 is not installed"),
        ("blas._right = lambda *_: False", "multiplies wrongly here"),
        ("blas.symbols.pointers = lambda *_: {}", "MLX's calls of a BLAS were not found"),
        ("blas.symbols.writable = lambda *_: False", "MLX's calls of a BLAS were not found"),
    ],
)
def test_failure_leaves_mlx_as_it_is_and_is_reported(change, reason):
    # Only the module is imported and changed; the package itself runs afterwards.
    start = f"""
import importlib, importlib.util, sys, types
package = types.ModuleType("tcnzoo.backends.mlx")
backends = importlib.util.find_spec("tcnzoo.backends")
package.__path__ = [backends.submodule_search_locations[0] + "/mlx"]
sys.modules["tcnzoo.backends.mlx"] = package
blas = importlib.import_module("tcnzoo.backends.mlx.blas")
del sys.modules["tcnzoo.backends.mlx"]
{change}
"""
    tuned, name, advice, error = _run(start + REPORT)
    assert error < ROUNDINGS
    if not tuned:
        assert reason in name
        assert "scipy-openblas32" in advice
    else:  # what is left is a BLAS that MLX has without our help
        assert "of scipy-openblas32" not in name


ALONE = """
import ctypes, json
import numpy as np
a = np.random.default_rng(0).standard_normal((300, 300)).astype("float32")
def products():
    found = [(a @ a).tobytes()]
    for multiply in others:
        found.append(multiply(a).tobytes())
    return found
others = []
{others}
before = products()
import tcnzoo.backends.mlx as backend
visible = [hasattr(ctypes.CDLL(None), name) for name in ("cblas_sgemm", "scipy_cblas_sgemm")]
print(json.dumps([backend.current_blas().tuned, visible, before == products()]))
"""
OTHERS = {
    "torch": """
import torch
torch.set_num_threads(1)
others.append(lambda a: (torch.from_numpy(a) @ torch.from_numpy(a)).numpy())
""",
    "tensorflow": """
import tensorflow as tf
others.append(lambda a: tf.matmul(a, a).numpy())
""",
    "scipy": """
from scipy.linalg.blas import sgemm
others.append(lambda a: sgemm(1.0, a, a))
""",
}


@NEEDS_OPENBLAS
@pytest.mark.parametrize("name", OTHERS)
def test_other_libraries_compute_as_before(name):
    pytest.importorskip(name)
    tuned, visible, same = _run(ALONE.format(others=OTHERS[name]), TF_CPP_MIN_LOG_LEVEL="3")
    assert tuned
    assert same
    assert visible == [False, False]


STREAMS = """
import json
from tcnzoo.backends.mlx.blas import current_blas, one_thread
library, prefix = current_blas().library
count = getattr(library, prefix + "openblas_get_num_threads")
counts = [count()]
with one_thread():
    counts.append(count())
    with one_thread():
        counts.append(count())
    counts.append(count())
print(json.dumps([*counts, count()]))
"""


@NEEDS_OPENBLAS
def test_a_stream_takes_one_thread_and_gives_the_others_back():
    assert _run(STREAMS, OPENBLAS_NUM_THREADS="2") == [2, 1, 1, 1, 2]
    assert _run(STREAMS) == [1, 1, 1, 1, 1]
