"""One description of a temporal model, one set of weights, every framework, the same numbers."""

from importlib import import_module as _import
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.errors import BackendMissing, InputError, SpecError, TcnzooError, WeightError
from tcnzoo.inference.quantization import initialise_codebook, quantize
from tcnzoo.models.backend import BackendInfo, available_backends
from tcnzoo.models.calls import (
    count_params,
    create,
    get_weights,
    gradients,
    init_state,
    load,
    predict,
    save,
    set_weights,
    step,
)
from tcnzoo.specs.folding import fold
from tcnzoo.specs.params import ParamCount
from tcnzoo.verification.parity import parity
from tcnzoo.version import __version__
from tcnzoo.zoo.catalog import list_models, load_spec

if TYPE_CHECKING:
    from tcnzoo.formats.protocol import convert
    from tcnzoo.runtimes.export import export
    from tcnzoo.training import train

__all__ = [
    "__version__",
    "BackendInfo",
    "BackendMissing",
    "InputError",
    "ParamCount",
    "ParityReport",
    "SpecError",
    "TcnzooError",
    "WeightError",
    "available_backends",
    "convert",
    "count_params",
    "create",
    "export",
    "fold",
    "get_weights",
    "gradients",
    "init_state",
    "initialise_codebook",
    "list_models",
    "load",
    "load_spec",
    "parity",
    "predict",
    "quantize",
    "save",
    "set_weights",
    "step",
    "train",
]

# In a checkout the backends and converters lie beside this folder, not in it.
_here = _Path(__file__).parent
if not (_here / "backends").is_dir():
    __path__.append(str(_here.parent))


# Imported when first asked for: each reads more than most callers need.
_LATER = {
    "convert": "tcnzoo.formats.protocol",
    "export": "tcnzoo.runtimes.export",
    "train": "tcnzoo.training.session",
}


def __getattr__(name: str) -> Any:
    """Import a public call of `_LATER`."""
    if name in _LATER:
        return getattr(_import(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
