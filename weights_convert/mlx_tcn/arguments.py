"""Arguments that make a net in mlx-tcn, and what these cannot hold.

Source: arguments of mlx-tcn's `TCN`, https://github.com/WeLiteAuto/mlx-tcn.
"""

from collections.abc import Iterator
from typing import Any

from tcnzoo.specs import TcnSpec

from ..pytorch_tcn.arguments import ACTIVATIONS, SOFTMAXES, shared_arguments, shared_obstacles

# mlx-tcn's argument, which is the hint -> the field of squeeze_excitation.
SQUEEZE = {"se_reduction": "reduction", "se_residual": "residual"}
# Its own default is refused for some activations; what it draws is replaced by what is loaded.
INITIALIZER = {"kernel_initilaizer": "xavier_uniform"}


def arguments_of(spec: TcnSpec) -> dict[str, Any]:
    """Arguments of `mlx_tcn.TCN` that make the net of a spec."""
    arguments = {"num_inputs": spec.in_channels, "kernel_sizes": list(spec.kernel_sizes)}
    arguments |= {**shared_arguments(spec), **INITIALIZER}
    if spec.squeeze_excitation is not None:
        fields = SQUEEZE.items()
        arguments |= {name: getattr(spec.squeeze_excitation, field) for name, field in fields}
    return arguments | {"use_se": spec.squeeze_excitation is not None}


def obstacles(spec: TcnSpec) -> Iterator[str]:
    """Say which fields mlx-tcn has no argument for."""
    if spec.squeeze_excitation is not None and spec.squeeze_excitation.pool != "global":
        yield (f"squeeze_excitation.pool must be 'global', but is {spec.squeeze_excitation.pool!r}")
    yield from shared_obstacles(spec, (*ACTIVATIONS, *SOFTMAXES))
