"""Activations as braindecode's configurations name them: the path of a class."""

from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError, suggestion

_TORCH = "torch.nn.modules.activation."
_OWN = "braindecode.modules.activation."
PATHS: Mapping[str, str] = {
    "relu": f"{_TORCH}ReLU",
    "elu": f"{_TORCH}ELU",
    "selu": f"{_TORCH}SELU",
    "gelu": f"{_TORCH}GELU",
    "silu": f"{_TORCH}SiLU",
    "leaky_relu": f"{_TORCH}LeakyReLU",
    "tanh": f"{_TORCH}Tanh",
    "sigmoid": f"{_TORCH}Sigmoid",
    "softplus": f"{_TORCH}Softplus",
    "relu6": f"{_TORCH}ReLU6",
    "hard_sigmoid": f"{_TORCH}Hardsigmoid",
    "hard_swish": f"{_TORCH}Hardswish",
    "linear": "torch.nn.modules.linear.Identity",
    "square": f"{_OWN}Square",
    "safe_log": f"{_OWN}SafeLog",
}
_NAMES = {path.rpartition(".")[2]: name for name, path in PATHS.items()}


def named(argument: str, value: Any) -> str:
    """Name of the activation that a configuration says.

    Args:
        argument: of the net.
        value: the path of a class, or its name alone.
    Raises:
        SpecError: another class.
    """
    name = str(value).rpartition(".")[2]
    if name not in _NAMES:
        raise SpecError(
            f"argument {argument!r} must be an activation of {', '.join(_NAMES)}, "
            f"but is {value!r}{suggestion(name, _NAMES)}"
        )
    return _NAMES[name]
