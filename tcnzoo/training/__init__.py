"""Training: one neutral loop over native steps, from one configuration."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcnzoo.training.config import TrainConfig, load_config
    from tcnzoo.training.outcome import Outcome
    from tcnzoo.training.session import train

__all__ = ["Outcome", "TrainConfig", "load_config", "train"]

# Imported when first asked for: a backend takes the losses from here, and needs none of these.
_MODULES = {
    "Outcome": "outcome",
    "TrainConfig": "config",
    "load_config": "config",
    "train": "session",
}


def __getattr__(name: str) -> Any:
    """Import what the package offers."""
    if name in _MODULES:
        return getattr(import_module(f"tcnzoo.training.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
