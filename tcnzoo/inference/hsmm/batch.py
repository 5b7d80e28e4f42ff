"""Inference for a batch of sequences of scores, of any lengths."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm import inference
from tcnzoo.inference.hsmm.inference import Engine
from tcnzoo.inference.hsmm.tables import Tables

Found = dict[str, Array]


def _log_likelihood(tables: Tables, scores: Array, name: Engine, out: Found) -> Found:
    """`log_likelihood` ()."""
    return {"log_likelihood": np.asarray(inference.log_likelihood(tables, scores, name))}


def _posteriors(tables: Tables, scores: Array, name: Engine, out: Found) -> Found:
    """`log_likelihood` (), `posterior` (K, T), and the expected counts."""
    expected = inference.expected(tables, scores, name, out["posterior"])
    return {
        "log_likelihood": np.asarray(expected.log_likelihood),
        "transitions": expected.transitions,
        "durations": expected.durations,
        "censored": expected.censored,
        "segments": (expected.durations + expected.censored).sum(axis=1),
    }


def _viterbi(tables: Tables, scores: Array, name: Engine, out: Found) -> Found:
    """`path` (T,) and `score` ()."""
    out["path"][:], score = inference.viterbi(tables, scores, name)
    return {"score": np.asarray(score)}


def _filter(tables: Tables, scores: Array, name: Engine, out: Found) -> Found:
    """`filtered` (K, T) and `log_likelihood` (T,)."""
    out["filtered"][:], out["log_likelihood"][:] = inference.filtered(tables, scores, name)
    return {}


# What has no step of time is returned, the rest written to the arrays of TIMED.
TASKS: dict[str, Callable[[Tables, Array, Engine, Found], Found]] = {
    "log_likelihood": _log_likelihood,
    "posteriors": _posteriors,
    "viterbi": _viterbi,
    "filter": _filter,
}
# What has a step of time on its last axis: whether states are before it, and what stands behind the
# end of a sequence.
TIMED: dict[str, dict[str, tuple[bool, float | int]]] = {
    "posteriors": {"posterior": (True, 0.0)},
    "viterbi": {"path": (False, -1)},
    "filter": {"filtered": (True, 0.0), "log_likelihood": (False, 0.0)},
}


def run(
    tables: Tables, task: str, scores: Array, lengths: Array, name: Engine = "auto"
) -> dict[str, Any]:
    """Run a task of TASKS on every sequence.

    Args:
        tables: of the model.
        task: `log_likelihood`, `posteriors`, `viterbi` or `filter`.
        scores: emission log-likelihoods, (batch, K, time).
        lengths: (batch,), steps of each sequence; what is behind them is not read.
        name: of the engine.
    Returns:
        name -> array with the batch on its first axis.
    """
    batch, states, steps = scores.shape
    timed = {
        key: np.full((batch, states, steps) if wide else (batch, steps), fill)
        for key, (wide, fill) in TIMED.get(task, {}).items()
    }
    rows = []
    for index, length in enumerate(lengths):
        out = {key: array[index, ..., :length] for key, array in timed.items()}
        rows.append(TASKS[task](tables, scores[index, :, :length], name, out))
    return {**timed, **{key: np.stack([row[key] for row in rows]) for key in rows[0]}}
