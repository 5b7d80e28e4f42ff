"""Logarithms or probabilities, whichever the recursions are faster with on this machine."""

import functools
from importlib.metadata import version

import numpy as np

from tcnzoo.engines import fastest
from tcnzoo.inference.hsmm import inference
from tcnzoo.inference.hsmm.inference import Engine
from tcnzoo.inference.hsmm.tables import Tables

# Longer signals take the same time for each step.
STEPS = 1024


def engine_for(states: int, reach: int, steps: int) -> str:
    """The engine for signals of about this size: `plain`, over logarithms, or `scaled`.

    It is measured on noise, since the time with logarithms hardly depends on the signal. Sizes are
    rounded up to powers of 2, so that few are measured.
    """
    sizes = [1 << (size - 1).bit_length() for size in (states, reach, min(steps, STEPS))]
    shape = "states {}, durations {}, steps {}".format(*sizes)
    states, reach, steps = sizes

    def call(name: Engine) -> None:
        law = np.full((states, reach), -np.log(reach))
        survival = np.log(np.arange(reach, 0.0, -1.0) / reach) + np.zeros((states, 1))
        start = np.full(states, -np.log(states))
        change = np.where(np.eye(states) == 1.0, -np.inf, -np.log(states - 1.0))
        scores = np.random.default_rng(0).standard_normal((states, steps))
        inference.expected(Tables(start, change, law, survival), scores, name)

    engines = {"plain": lambda: call("compiled"), "scaled": lambda: call("scaled")}
    return fastest("hsmm", shape, engines, package=_numba())


@functools.cache
def _numba() -> str:
    """Name and version of what compiles."""
    return f"numba {version('numba')}"
