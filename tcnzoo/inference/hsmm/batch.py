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
    expected = inference.expected(tables, scores, name)
    return {
        "log_likelihood": np.asarray(expected.log_likelihood),
        "posterior": expected.posterior,
        "transitions": expected.transitions,
        "durations": expected.durations,
        "censored": expected.censored,
        "segments": (expected.durations + expected.censored).sum(axis=1),
    }


def _viterbi(tables: Tables, scores: Array, name: Engine) -> Found:
    """`path` (T,) and `score` ()."""
    path, score = inference.viterbi(tables, scores, name)
    return {"path": path, "score": np.asarray(score)}


def _filter(tables: Tables, scores: Array, name: Engine) -> Found:
    """`filtered` (K, T) and `log_likelihood` (T,)."""
    filtered, so_far = inference.filtered(tables, scores, name)
    return {"filtered": filtered, "log_likelihood": so_far}


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
    results = [
        TASKS[task](tables, sequence[:, :length], name)
        for sequence, length in zip(scores, lengths, strict=True)
    ]
    table = {}
    for key in results[0]:
        fill = TIMED.get((task, key))
        if fill is None:
            table[key] = np.stack([row[key] for row in results])
            continue
        first = results[0][key]
        shape = (len(results), *first.shape[:-1], scores.shape[2])
        table[key] = np.full(shape, fill, dtype=first.dtype)
        for index, (row, length) in enumerate(zip(results, lengths, strict=True)):
            table[key][index, ..., :length] = row[key]
    return table
