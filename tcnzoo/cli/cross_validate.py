"""The command `cross-validate`: one run for each fold of the groups."""

from typing import Annotated

import typer

from tcnzoo.backend import canonical
from tcnzoo.cli import console
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import Json, Overrides, assignments

# What `tcnzoo.training.ensemble` takes by itself; importing it here would make every command wait.
QUANTILE = 0.7

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A .yaml or .json file, or one of the package's.")
]
Backend = Annotated[
    str | None, typer.Option("--backend", help="torch, mlx or keras; default: the configuration's.")
]
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
    from tcnzoo.training import load_config
    from tcnzoo.training.ensemble import cross_validate as run

    changes = assignments(overrides)
    if backend is not None:
        changes["backend"] = canonical(backend)
    told = load_config(config, **changes)
    import_backends([told.backend])
    scores = run(told, folds, quantile=quantile, resume=resume)
    if as_json:
        console.show_json(scores.to_dict())
        return
    headings = {"metric": "left"} | {f"fold {place}": "right" for place in range(folds)}
    rows = [
        [name, *(_number(fold.get(name)) for fold in scores.folds), _number(value)]
        for name, value in scores.combined.items()
    ]
    console.table(headings | {f"quantile {quantile:g}": "right"}, rows)


def _number(value: float | None) -> str:
    """A score, or a dash."""
    return "-" if value is None else f"{value:.4g}"
