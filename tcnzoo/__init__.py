"""One description of a temporal model, one set of weights, every framework, the same numbers."""

from importlib import import_module as _import
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from tcnzoo.errors import BackendMissing, InputError, SpecError, TcnzooError, WeightError
from tcnzoo.version import __version__

if TYPE_CHECKING:
    from tcnzoo.checkpoints.parity_report import ParityReport
    from tcnzoo.formats.protocol import convert
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
    from tcnzoo.runtimes.export import export
    from tcnzoo.specs.folding import fold
    from tcnzoo.specs.params import ParamCount
    from tcnzoo.training import train
    from tcnzoo.verification.parity import parity
    from tcnzoo.zoo.catalog import list_models, load_spec

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


# Public names by the module that has them, imported when one is first asked for: the command line
# needs few of them, and numpy and pydantic alone take longer than most commands.
_MODULES = {
    "checkpoints.parity_report": ("ParityReport",),
    "formats.protocol": ("convert",),
    "inference.quantization": ("initialise_codebook", "quantize"),
    "models.backend": ("BackendInfo", "available_backends"),
    "models.calls": (
        "count_params",
        "create",
        "get_weights",
        "gradients",
        "init_state",
        "load",
        "predict",
        "save",
        "set_weights",
        "step",
    ),
    "runtimes.export": ("export",),
    "specs.folding": ("fold",),
    "specs.params": ("ParamCount",),
    "training.session": ("train",),
    "verification.parity": ("parity",),
    "zoo.catalog": ("list_models", "load_spec"),
}
_LATER = {name: f"tcnzoo.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name of `_LATER`, and keep it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
