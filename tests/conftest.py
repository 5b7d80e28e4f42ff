"""Session settings, the backends that are tested, and their versions in the header."""

import contextlib
import importlib.util
import os
import warnings

# Before any framework is imported: full float32, few threads (torch's spin), quiet logs.
os.environ["MLX_ENABLE_TF32"] = "0"
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from tcnzoo.extras import missing_package
from tcnzoo.models.backend import backend_modules, get_backend, installed_backends

NAMED = [name for name in os.environ.get("TCNZOO_TEST_BACKENDS", "").split(",") if name]
BACKENDS = NAMED or installed_backends()
NATIVE = [name for name in BACKENDS if name != "numpy"]
VERSIONS = {}

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
    for name in BACKENDS:
        if name not in backend_modules():
            raise pytest.UsageError(f"TCNZOO_TEST_BACKENDS names {name!r}, which is no backend")
        package = missing_package(name)
        if package is not None:
            raise pytest.UsageError(f"TCNZOO_TEST_BACKENDS names {name!r}, which needs {package}")
    with warnings.catch_warnings(), _stderr_closed():
        warnings.simplefilter("ignore")
        # torch before TensorFlow: the order that is tested.
        for name in sorted(BACKENDS, key="torch".__ne__):
            VERSIONS.update(get_backend(name).info().versions)
    if "torch" in BACKENDS:
        _calm_torch()


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
    versions = ", ".join(f"{package} {version}" for package, version in VERSIONS.items())
    return f"backends: {', '.join(BACKENDS)} ({versions})"


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
