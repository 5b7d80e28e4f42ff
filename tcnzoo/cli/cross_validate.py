"""The command `cross-validate`: one run for each fold of the groups."""

from typing import Annotated

import typer

from tcnzoo.cli import console
from tcnzoo.cli.options import Json, Overrides
from tcnzoo.cli.train import Backend, Config, configured

# The default of `tcnzoo.training.ensemble`; importing it here would slow down every command.
QUANTILE = 0.7

Folds = Annotated[int, typer.Option(min=3, help="Each is test data once, and validation once.")]
Quantile = Annotated[float, typer.Option(help="Of the scores of the folds (Harrell-Davis).")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with folds that were begun.")]


def cross_validate(
    config: Config,
    folds: Folds = 5,
    quantile: Quantile = QUANTILE,
    backend: Backend = None,
    overrides: Overrides = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Train a model for each fold of the groups, and bring their test scores together."""
    from tcnzoo.training.ensemble import cross_validate as run

    settings = configured(config, backend, overrides)
    scores = run(settings, folds, quantile=quantile, resume=resume)
    if as_json:
        console.show_json(scores.to_dict())
        return
    headings = {"metric": "left"} | {f"fold {fold}": "right" for fold in range(folds)}
    table = [
        [name, *(_number(fold.get(name)) for fold in scores.folds), _number(value)]
        for name, value in scores.combined.items()
    ]
    console.table(headings | {f"quantile {quantile:g}": "right"}, table)


def _number(value: float | None) -> str:
    """A score, or a dash."""
    return "-" if value is None else f"{value:.4g}"
