"""Checks of a detector, and its logits for a signal that comes in chunks."""

from typing import Any

import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.errors import InputError
from tcnzoo.models.backend import handle_of
from tcnzoo.models.calls import init_state, step
from tcnzoo.specs.montages import TEN_TWENTY


def check_detector(model: Any, window: int) -> None:
    """Raise InputError unless a model gives one logit for each sample of 19 channels."""
    spec = handle_of(model).spec
    if spec.input_channels not in (None, len(TEN_TWENTY)):
        raise InputError(
            f"a detector takes {len(TEN_TWENTY)} channels, but the model takes "
            f"{spec.input_channels}"
        )
    shape = spec.output_shape((len(TEN_TWENTY), window))
    if shape != (1, window):
        raise InputError(
            f"a detector gives one logit for each sample, (1, {window}), but the output of the "
            f"model is {shape}"
        )


def to_probabilities(logits: Array) -> Array:
    """The logistic function, in float64; a model that gives NaN is refused."""
    logits = logits.astype(np.float64)
    if np.isnan(logits).any():
        raise InputError("the output of the model must be finite, but holds NaN")
    half = np.exp(-np.abs(logits))
    return np.where(logits >= 0.0, 1.0, half) / (1.0 + half)


class Logits:
    """A model's logits for a signal that comes in chunks, one for each sample of it in the end."""

    def __init__(self, model: Any, nonfinite: str = "raise") -> None:
        """Start before the first sample; `nonfinite` as in `tcnzoo.step`."""
        self._model = model
        self._nonfinite = nonfinite
        self._state = init_state(model)
        self._came = self._given = 0
        self.delay = handle_of(model).spec.field().delay

    def push(self, x: Array) -> Array:
        """Take (channels, time); return the logits that are known, (time,)."""
        self._came += x.shape[1]
        return self._stepped(x)

    def finish(self) -> Array:
        """Return the rest, for which the signal is continued with zeros."""
        missing = self._came - self._given
        return self._stepped(np.zeros((len(TEN_TWENTY), self.delay), np.float32))[:missing]

    def _stepped(self, x: Array) -> Array:
        """One streaming step."""
        if x.shape[1] == 0:
            return np.zeros(0)
        y, self._state = step(self._model, x[None], self._state, nonfinite=self._nonfinite)
        self._given += y.shape[2]
        logits: Array = to_numpy(y)[0, 0].astype(np.float64)
        if self._nonfinite != "raise":
            logits[np.isnan(logits)] = -np.inf
        return logits
