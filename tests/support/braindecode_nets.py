"""braindecode's models as oracles, imported without two packages that no test uses.

braindecode 1.8.1 imports torchaudio and linear_attention_transformer for nets that no test makes;
no torchaudio on PyPI loads beside a CPU build of torch 2.13.
"""

import importlib.util
import sys
import types
import warnings

import pytest

ABSENT = (
    "linear_attention_transformer",
    "torchaudio",
    "torchaudio.functional",
    "torchaudio.transforms",
)


class _Empty(types.ModuleType):
    """A module in which every name is a class that does nothing."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def braindecode_models():
    """The module `braindecode.models`; the test is skipped where braindecode is not installed."""
    pytest.importorskip("torch")
    if importlib.util.find_spec("braindecode") is None:
        pytest.skip("braindecode is not installed")
    absent = [name for name in ABSENT if name not in sys.modules]
    for name in absent:
        sys.modules[name] = _Empty(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MNE and pandas, at what braindecode imports
            import braindecode.models as models
    finally:
        for name in absent:  # other packages ask whether torchaudio is there
            del sys.modules[name]
    return models
