"""Inference for a batch of sequences of scores, of any lengths."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm import inference
from tcnzoo.inference.hsmm.inference import Engine
from tcnzoo.inference.hsmm.tables import Tables

Found = dict[str, Array]


def _log_likelihood(tables: Tables, scores: Array, name: Engine) -> Found:
    """`log_likelihood` ()."""
    return {"log_likelihood": np.asarray(inference.log_likelihood(tables, scores, name))}


def _posteriors(tables: Tables, scores: Array, name: Engine) -> Found:
    """`log_likelihood` (), `posterior` (K, T), and the expected counts."""
    found = inference.expected(tables, scores, name)
    return {
        "log_likelihood": np.asarray(found.log_likelihood),
        "posterior": found.posterior,
        "transitions": found.transitions,
        "durations": found.durations,
        "censored": found.censored,
        "segments": (found.durations + found.censored).sum(axis=1),
    }


def _viterbi(tables: Tables, scores: Array, name: Engine) -> Found:
    """`path` (T,) and `score` ()."""
    path, score = inference.viterbi(tables, scores, name)
    return {"path": path, "score": np.asarray(score)}


def _filter(tables: Tables, scores: Array, name: Engine) -> Found:
    """`filtered` (K, T) and `log_likelihood` (T,)."""
    found, so_far = inference.filtered(tables, scores, name)
    return {"filtered": found, "log_likelihood": so_far}


TASKS: dict[str, Callable[[Tables, Array, Engine], Found]] = {
    "log_likelihood": _log_likelihood,
    "posteriors": _posteriors,
    "viterbi": _viterbi,
    "filter": _filter,
}
# What has a step of time on its last axis, and what stands behind the end of a sequence.
TIMED = {
    ("posteriors", "posterior"): 0.0,
    ("viterbi", "path"): -1,
    ("filter", "filtered"): 0.0,
    ("filter", "log_likelihood"): 0.0,
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
    rows = [
        TASKS[task](tables, one[:, :length], name)
        for one, length in zip(scores, lengths, strict=True)
    ]
    table = {}
    for key in rows[0]:
        fill = TIMED.get((task, key))
        if fill is None:
            table[key] = np.stack([row[key] for row in rows])
            continue
        first = rows[0][key]
        shape = (len(rows), *first.shape[:-1], scores.shape[2])
        table[key] = np.full(shape, fill, dtype=first.dtype)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            table[key][place, ..., :length] = row[key]
    return table
