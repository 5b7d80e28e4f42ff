"""Session settings, the backends that are tested, and their versions in the header."""

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
import tempfile
import warnings
from importlib.metadata import packages_distributions, version

# Before any framework is imported: full float32, few threads (torch's spin), quiet logs.
os.environ["MLX_ENABLE_TF32"] = "0"
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# Packages of AOTInductor are compiled to be right, not fast, for what the CPU says it can do.
os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
# What is measured of engines is shared by the workers, and by what the tests start, of one run.
if "TCNZOO_CACHE" not in os.environ:
    _measurements = tempfile.TemporaryDirectory(prefix="tcnzoo-test-")
    os.environ["TCNZOO_CACHE"] = _measurements.name

import pytest
from hypothesis import HealthCheck, settings

from tcnzoo import engines
from tcnzoo.extras import missing_package
from tcnzoo.models.backend import backend_modules, get_backend, installed_backends
from tests.support.engine_draw import drawn_choice
from tests.support.mlx_header import compiled_header

# Tests ask whether numbers are right whichever engine is taken.
engines._remembered = drawn_choice

NAMED = [name for name in os.environ.get("TCNZOO_TEST_BACKENDS", "").split(",") if name]
BACKENDS = NAMED or installed_backends()
NATIVE = [name for name in BACKENDS if name != "numpy"]

# A file of tests for one framework needs that framework.
collect_ignore_glob = [
    f"backends/test_{name}*.py" for name in ("torch", "mlx", "keras") if name not in BACKENDS
]
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob.append("parity/test_reference_torch.py")  # torch is the oracle there

settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("tests")


def pytest_configure(config):
    # Warnings are errors, but for what the frameworks say of their own insides.
    for framework in ("torch", "tensorflow", "keras", "jax"):
        config.addinivalue_line("filterwarnings", rf"ignore::DeprecationWarning:{framework}\.")
    # Tests of 16-bit types run on every processor.
    config.addinivalue_line("filterwarnings", "ignore::tcnzoo.engines.SlowTypeWarning")
    for name in BACKENDS:
        if name not in backend_modules():
            raise pytest.UsageError(f"TCNZOO_TEST_BACKENDS names {name!r}, which is no backend")
        package = missing_package(name)
        if package is not None:
            raise pytest.UsageError(f"TCNZOO_TEST_BACKENDS names {name!r}, which needs {package}")
    if _only_deals_out(config):
        if "mlx" in BACKENDS and sys.platform == "linux":
            header = contextlib.ExitStack()
            header.enter_context(compiled_header())
            config.add_cleanup(header.close)
        return
    with warnings.catch_warnings(), _stderr_closed():
        warnings.simplefilter("ignore")
        # torch before TensorFlow: the order that is tested.
        for name in sorted(BACKENDS, key="torch".__ne__):
            get_backend(name)
    if "torch" in BACKENDS:
        _calm_torch()


def _only_deals_out(config):
    """Whether this process leaves all tests to workers of pytest-xdist."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


@contextlib.contextmanager
def _stderr_closed():
    """Keep quiet what TensorFlow writes about the machine, whatever its log level."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _calm_torch():
    import torch

    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def pytest_report_header(config):
    packages, names = dict.fromkeys(BACKENDS), packages_distributions()
    if "keras" in BACKENDS:
        packages[os.environ["KERAS_BACKEND"]] = None
    # Several distributions may provide a package: as tensorflow-cpu does `tensorflow`.
    named = {one: one if one in names[one] else names[one][0] for one in packages}
    versions = ", ".join(f"{one} {version(name)}" for one, name in named.items())
    return f"backends: {', '.join(BACKENDS)} ({versions})"


def pytest_collection_finish():
    # What is there before the first test stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


TESTS_BETWEEN_CLEARINGS = 50
DONE = [0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """Give memory back to the system now and then: frameworks keep what each new model compiles."""
    DONE[0] += 1
    if DONE[0] % TESTS_BETWEEN_CLEARINGS:
        return
    gc.collect()
    if "mlx.core" in sys.modules:
        sys.modules["mlx.core"].clear_cache()
    if "tensorflow" in sys.modules:
        # Its cache of kernels grows with each variable that Keras makes, 1 MB for a small TCN.
        sys.modules["tensorflow.python.eager.context"].context().clear_kernel_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(params=BACKENDS, scope="session")
def backend(request):
    """Each backend."""
    return request.param


@pytest.fixture(params=NATIVE, scope="session")
def native(request):
    """Each backend but numpy: those that differentiate."""
    return request.param


@pytest.fixture(scope="session")
def backends():
    """All backends at once."""
    return list(BACKENDS)
