"""The command that shows everything at once: demo."""

from pathlib import Path
from typing import Annotated

import typer

from tcnzoo.cli import console
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import Json
from tcnzoo.demo import DemoReport, check_installed, demo as run_demo
from tcnzoo.demo.recording import RATE, read
from tcnzoo.files.atomic import check_destination


def demo(
    source: Annotated[
        Path | None,
        typer.Option("--input", help="A recording (channels, time), .npy or .csv; else generated."),
    ] = None,
    directory: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where checkpoints and figure go.")
    ] = Path("demo_output"),
    rate: Annotated[float, typer.Option(min=1.0, help="Sampling rate of --input, in Hz.")] = RATE,
    as_json: Json = False,
) -> None:
    """Take a pytorch-tcn checkpoint through every backend, check every number, draw one figure."""
    check_installed()
    check_destination(directory, folder=True)
    if source is not None:
        read(source, rate)  # what cannot be read is said before frameworks are imported
    with console.Steps() as say:
        say("importing every installed framework")
        import_backends()
        report = run_demo(directory, source, rate=rate, say=say)
    if as_json:
        console.show_json(report.to_dict())
    else:
        _show(report)
    if not report.passed:
        raise typer.Exit(console.CHECK_FAILED)


def _show(report: DemoReport) -> None:
    """Print the checks and what was written."""
    layers = {row.backend: row.output_error for row in report.layers.rows}
    _, channels, steps = report.input_shape
    headings = {"backend": "left", "offline": "right", "streamed": "right", "float64": "right"}
    headings |= {"": "left"}
    console.show()
    console.table(
        headings,
        [
            (
                check.backend,
                console.error_text(check.offline_error),
                console.error_text(check.stream_error),
                console.error_text(layers.get(check.backend)),
                console.mark(check.passed),
            )
            for check in report.checks
        ],
        f"Relative errors against {report.library}'s own output, and against float64",
    )
    console.show()
    console.facts(
        {
            "recording": f"{channels} channels, {steps:,} samples, {report.chunks} ragged chunks",
            "state moved": f"{report.changes} times from one backend to another",
            "tolerance": f"{report.layers.tolerance:g}",
            "figure": report.files["figure"],
        }
    )
