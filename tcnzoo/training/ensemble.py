"""Cross-validation by group, and quantiles that combine the scores of several models."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import check_destination, replacing
from tcnzoo.training.config import load_config
from tcnzoo.training.data import load as load_data
from tcnzoo.training.data.config import DataInParts
from tcnzoo.training.needs import needed
from tcnzoo.training.run_directory import RunDirectory
from tcnzoo.training.session import train as train_session

QUANTILE = 0.7


def harrell_davis(scores: Any, quantile: float = QUANTILE, axis: int = 0) -> Array:
    """The Harrell-Davis estimate of a quantile: a weighted mean of all order statistics.

    The weight of the i-th of n is I_{i/n}(a, b) - I_{(i-1)/n}(a, b), the regularised incomplete
    beta function of a = (n + 1) q and b = (n + 1) (1 - q).

    Args:
        scores: numbers, at least one along `axis`.
        quantile: q, above 0 and below 1.
        axis: of the folds.
    Returns:
        `scores` without that axis, float64.
    Raises:
        InputError: no scores, scores that are not finite, or a quantile outside (0, 1).
        BackendMissing: scipy is not installed.
    Source:
        Harrell & Davis 1982, doi:10.1093/biomet/69.3.635; scipy.stats.mstats.hdquantiles.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim == 0 or values.shape[axis] == 0:
        raise InputError("a quantile needs at least one score, but none came")
    check_quantile(quantile)
    if not np.isfinite(values).all():
        raise InputError("the scores hold NaN or infinite values")
    # hdquantiles of scipy 1.17.1 returns the same bits, but masks the quantile of one score, takes
    # two axes at most, and needs 11 s for 40,000 quantiles that take 7 ms here.
    special = needed("scipy.special", "a Harrell-Davis quantile")
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    count = ordered.shape[-1]
    edges = np.arange(count + 1) / count
    shares = special.betainc((count + 1) * quantile, (count + 1) * (1.0 - quantile), edges)
    quantiles: Array = ordered @ np.diff(shares)
    return quantiles


def check_quantile(quantile: float) -> None:
    """Raise InputError for a quantile outside (0, 1)."""
    if not 0.0 < quantile < 1.0:
        raise InputError(f"the quantile must lie between 0 and 1, but is {quantile}")


def combine(probabilities: Sequence[Array], quantile: float = QUANTILE) -> Array:
    """Probabilities of several models as one: the quantile of each class, made to sum to 1.

    Args:
        probabilities: (examples, classes) of each model.
        quantile: see `harrell_davis`.
    """
    quantiles = harrell_davis(np.stack(probabilities), quantile)
    total = quantiles.sum(axis=-1, keepdims=True)
    return quantiles / np.where(total > 0.0, total, 1.0)


@dataclass(frozen=True)
class FoldScores:
    """The scores of a cross-validation.

    Attributes:
        folds: metrics of each fold on its own test data.
        quantile: of `combined`.
        combined: the quantile of each metric over the folds that have it.
    """

    folds: tuple[dict[str, float | None], ...]
    quantile: float
    combined: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "quantile": self.quantile,
            "combined": self.combined,
            "folds": list(self.folds),
        }


def cross_validate(
    config: Any,
    folds: int,
    *,
    quantile: float = QUANTILE,
    resume: bool = False,
    train: Callable[..., Any] = train_session,
) -> FoldScores:
    """Train one model for each fold of the groups, and combine their test scores.

    Each fold goes into `<output>/fold-<i>`, and the scores of all into `<output>/folds.json`.

    Args:
        config: a `TrainConfig`, or what `load_config` takes; its data must be split, not come in
            parts.
        folds: how many, at least 3.
        quantile: see `harrell_davis`.
        resume: continue folds that were started, and keep those that are finished.
        train: takes the configuration of a fold and `resume`, and returns something with test
            metrics in `.report["metrics"]`.
    Raises:
        InputError: a quantile outside (0, 1), data that have no split or fewer groups than folds,
            fewer than 3 folds, or a directory of a fold that exists already.
    """
    check_quantile(quantile)
    if folds < 3:
        raise InputError(f"cross-validation needs 3 folds or more, but got {folds}")
    whole = load_config(config)
    if isinstance(whole.data, DataInParts):
        raise InputError(f"data of kind {whole.data.kind!r} come in parts, so they have no folds")
    out = Path(whole.output)
    configs = [
        load_config(
            whole,
            **{
                "data.split.folds": folds,
                "data.split.fold": fold,
                "output": str(out / f"fold-{fold}"),
            },
        )
        for fold in range(folds)
    ]
    check_destination(out, folder=True)
    check_destination(out / "folds.json")
    if not resume:
        for fold_config in configs:
            RunDirectory(fold_config).check_new()
    load_data(configs[-1].data, whole.seed)  # too few groups: the last fold has no test data
    metrics = [dict(train(fold, resume=resume).report["metrics"]) for fold in configs]
    scores = FoldScores(tuple(metrics), quantile, _combined(metrics, quantile))
    with replacing(out / "folds.json") as temporary:
        temporary.write_text(json.dumps(scores.to_dict(), indent=2) + "\n", encoding="utf-8")
    return scores


def _combined(folds: Sequence[Mapping[str, float | None]], quantile: float) -> dict[str, float]:
    """The quantile of each metric over the folds that have it."""
    names = dict.fromkeys(name for fold in folds for name in fold)
    scores = {name: [fold[name] for fold in folds if fold.get(name) is not None] for name in names}
    return {name: float(harrell_davis(known, quantile)) for name, known in scores.items() if known}
