"""The command `curves`: runs of one configuration, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from tcnzoo.cli import console
from tcnzoo.cli.options import Json
from tcnzoo.files.atomic import refuse_existing
from tcnzoo.files.figures import check_figure

Runs = Annotated[list[Path], typer.Argument(metavar="RUN ...", help="Directories of runs.")]
Metrics = Annotated[
    str | None, typer.Option(help="Names in metrics.jsonl, with commas; default: loss,val_loss.")
]
Picture = Annotated[Path | None, typer.Option("--output", "-o", help="A .png file to draw.")]
Tolerance = Annotated[
    float | None, typer.Option(min=0.0, help="Exit with 1 where a relative difference is larger.")
]


def curves(
    runs: Runs,
    metrics: Metrics = None,
    output: Picture = None,
    tolerance: Tolerance = None,
    as_json: Json = False,
) -> None:
    """Tell how far the curves of runs part from those of the first, and draw them.

    One run alone can be drawn.
    """
    from tcnzoo.training.run_comparison import DEFAULT, draw_runs, gaps, read_run

    if output is not None:
        refuse_existing(output)
        check_figure(output)
    names = DEFAULT if metrics is None else tuple(metrics.split(","))
    read = [read_run(run) for run in runs]
    differences = gaps(read, names) if len(read) > 1 or output is None else []
    if output is not None:
        draw_runs(read, output, names)
    passed = tolerance is None or all(gap.largest <= tolerance for gap in differences)
    if as_json:
        documents = [gap.to_dict() for gap in differences]
        picture = str(output) if output else None
        console.show_json(
            {"first": read[0].name, "gaps": documents, "held": passed, "output": picture}
        )
    elif differences:
        headings = {"run": "left", "number": "left", "steps": "right", "difference": "right"}
        headings |= {"at step": "right", "first run": "right", "this run": "right"}
        table = [
            (
                gap.run,
                gap.metric,
                gap.steps,
                console.error_text(gap.largest),
                gap.step,
                *(f"{value:.6g}" for value in gap.last),
            )
            for gap in differences
        ]
        title = f"largest relative difference to {read[0].name}; values of the last step"
        console.table(headings, table, title)
    if not passed:
        raise typer.Exit(console.CHECK_FAILED)
