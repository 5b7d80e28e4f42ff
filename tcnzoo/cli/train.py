"""The command `train`: a run from its configuration."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tcnzoo.cli import console
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import Json, Overrides, assignments
from tcnzoo.models.backend import canonical

if TYPE_CHECKING:
    from tcnzoo.training import TrainConfig

Config = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="A .yaml file, a run's directory, or a name."),
]
Backend = Annotated[
    str | None, typer.Option("--backend", help="torch, mlx or keras; default: the configuration's.")
]
Trial = Annotated[
    bool,
    typer.Option("--fast-dev-run", help="Two steps and a batch of each part; nothing is kept."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")]
# Numbers of the report that are printed.
MOST = 12


def train(
    config: Config,
    backend: Backend = None,
    overrides: Overrides = None,
    fast_dev_run: Trial = False,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Train a model as a configuration says, or go on with a run."""
    from tcnzoo.training import train as run

    settings = configured(config, backend, overrides)
    outcome = run(settings, resume=resume, fast_dev_run=fast_dev_run, progress=not as_json)
    if os.environ.get("RANK", "0") != "0":
        return  # one of several processes of torchrun; the first one reports
    document = outcome.to_dict()
    if as_json:
        console.show_json(document | {"kept": not fast_dev_run})
        return
    _show_outcome(document, kept=not fast_dev_run)


def configured(config: Path, backend: str | None, overrides: Sequence[str] | None) -> "TrainConfig":
    """The configuration with what options change; its framework is imported."""
    from tcnzoo.training import load_config

    changes = assignments(overrides)
    if backend is not None:
        changes["backend"] = canonical(backend)
    settings = load_config(config, **changes)
    import_backends([settings.backend])
    return settings


def _show_outcome(outcome: dict[str, Any], kept: bool) -> None:
    """Print what a run came to."""
    report = outcome["report"].get("metrics", {})
    numbers = {f"test {name}": value for name, value in report.items()} or outcome["metrics"]
    lines = {
        name: f"{number:.4g}" for name, number in [*numbers.items()][:MOST] if number is not None
    }
    facts = {
        "run": f"{outcome['ended']} after {outcome['steps']:,} steps, {outcome['epochs']} epochs, "
        f"{outcome['seconds']:.1f} s",
        "best": "-"
        if outcome["best"] is None
        else f"{outcome['best']:.4g} at step {outcome['best_step']:,}",
        **lines,
        "files": str(outcome["directory"]) if kept else "none kept",
    }
    console.facts(facts)
