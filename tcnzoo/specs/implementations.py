"""Which implementation the Mamba-2 layers of a model run in, without importing a framework."""

from tcnzoo.errors import InputError
from tcnzoo.extras import missing_package
from tcnzoo.specs import Mamba2Spec, Spec

# As specs and the package index call the library.
KERNELS = "mamba-ssm"


def implementations(spec: Spec) -> dict[str, str]:
    """What the Mamba-2 layers of a model ask for, and what they get here: {asked: sentence}."""
    asked = {part.implementation for _, part in spec.walk() if isinstance(part, Mamba2Spec)}
    return {name: _got(name) for name in sorted(asked)}


def _got(implementation: str) -> str:
    """What an implementation comes to with the packages that are installed here."""
    if implementation == "native":
        return "tcnzoo's own"
    missing = missing_package(KERNELS) is not None
    if implementation == KERNELS:
        return f"{KERNELS}, which is not installed" if missing else f"{KERNELS}, on CUDA only"
    if missing:
        return f"tcnzoo's own ({KERNELS} is not installed)"
    return f"{KERNELS} in torch on CUDA for 16-bit types or TF32, else tcnzoo's own"


def check_native(spec: Spec, backend: str) -> None:
    """Raise InputError if a model asks by name for kernels that only torch has."""
    if KERNELS in implementations(spec):
        raise InputError(
            f"backend {backend!r} has no {KERNELS} kernels; use implementation 'auto' or 'native'"
        )
