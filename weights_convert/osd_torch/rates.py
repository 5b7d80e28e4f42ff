"""Dropout rates that stand beside the tensors of an OpenSeizureDetector file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import WeightError

from .names import RATES


def rate_beside(path: Path, beside: Mapping[Any, Any], name: str) -> float | None:
    """A rate by its own entry, or by the configuration, whole or its `modelConfig` alone."""
    config = beside.get("config")
    config = config if isinstance(config, Mapping) else {}
    model = config.get("modelConfig")
    model = model if isinstance(model, Mapping) else config
    value = beside.get(name)
    return checked_rate(path, name, model.get(RATES[name]) if value is None else value)


def checked_rate(path: Path, name: str, value: Any) -> float | None:
    """A rate, checked."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise WeightError(f"{name} in {str(path)!r} must be a rate from 0 to 1, but is {value!r}")
    return float(value)
