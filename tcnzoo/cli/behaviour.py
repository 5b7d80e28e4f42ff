"""The command `segment`: a recording cut into lasting states."""

import math
from pathlib import Path
from typing import Annotated

import typer

import tcnzoo
from tcnzoo.cli import console
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import (
    Checkpoint,
    Device,
    Json,
    OneBackend,
    check_checkpoint,
    chosen_backend,
)
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import check_destination, check_distinct
from tcnzoo.files.figures import check_figure
from tcnzoo.files.signals import read_signal

Source = Annotated[
    Path, typer.Argument(help=".csv, a line a step and a column a channel, or .npy.")
]
Output = Annotated[Path, typer.Option("--output", help=".csv of segments to write.")]
Picture = Annotated[Path | None, typer.Option("--figure", help=".png of the ethogram to draw.")]
Durations = Annotated[
    Path | None, typer.Option("--durations", help=".png of durations and laws to draw.")
]
Transitions = Annotated[
    Path | None, typer.Option("--transitions", help=".png of the changes of state to draw.")
]
Rate = Annotated[
    float | None,
    typer.Option(help="Steps a second, for starts and stops in seconds; default: in steps."),
]


def segment(
    checkpoint: Checkpoint,
    source: Source,
    destination: Output = Path("segments.csv"),
    picture: Picture = None,
    durations: Durations = None,
    transitions: Transitions = None,
    rate: Rate = None,
    backend: OneBackend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Cut a recording into segments of lasting states, and draw them."""
    from tcnzoo.behaviour import figures, scores, segmenting

    if destination.suffix.lower() != ".csv":
        raise InputError(f"segments are a .csv file, but got {str(destination)!r}")
    if rate is not None and not 0 < rate < math.inf:
        raise InputError(f"--rate must be a finite number above 0, but is {rate}")
    check_destination(destination)
    for path in (picture, durations, transitions):
        check_figure(path, extra="train")
    check_distinct([source], [destination, picture, durations, transitions])
    name = chosen_backend(backend)
    spec, signal = check_checkpoint(checkpoint), read_signal(source)
    shaped = segmenting.shaped(spec, signal)
    with console.working("segmenting"):
        import_backends([name])
        model = tcnzoo.load(checkpoint, backend=name, device=device)
        segmentation = segmenting.segment(model, signal)
    segmenting.write_segments(destination, segmentation, rate)
    if picture is not None:
        figures.ethogram(picture, shaped, segmentation, rate=rate, title=str(source))
    if durations is not None:
        figures.duration_histograms(durations, segmentation, segmenting.tables_in(model))
    if transitions is not None:
        figures.transition_graph(transitions, segmentation)
    states = scores.active(segmentation.path, len(segmentation.posterior), 0.0)
    kept = scores.persistence(segmentation.path) if len(segmentation.path) > 1 else None
    files = [str(file) for file in (destination, picture, durations, transitions) if file]
    if as_json:
        console.show_json(
            {
                "segments": [part._asdict() for part in segmentation.segments],
                "states": states.tolist(),
                "log_likelihood": segmentation.log_likelihood,
                "persistence": kept,
                "backend": name,
                "files": files,
            }
        )
        return
    total, each = segmentation.log_likelihood, segmentation.log_likelihood / len(segmentation.path)
    console.facts(
        {
            "segments": f"{len(segmentation.segments)}, of {len(states)} states",
            "log-likelihood": f"{total:.2f} nats, {each:.3f} a step",
            "persistence": "-" if kept is None else f"{kept:.3f} of the steps",
            "backend": name,
            "files": ", ".join(files),
        }
    )


def demo_behaviour(
    directory: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where runs and pictures go.")
    ] = Path("behaviour_output"),
    backend: OneBackend = None,
    as_json: Json = False,
) -> None:
    """Train codes, clusters and states on simulated bouts, and cut an unseen recording."""
    from tcnzoo.behaviour import ACTIVITIES
    from tcnzoo.behaviour.demo import WANTED, demo

    name = chosen_backend(backend)
    check_destination(directory, folder=True)
    with console.Steps() as say:
        say("importing the framework")
        import_backends([name])
        report = demo(directory, backend=name, say=say)
    if as_json:
        console.show_json(report.to_dict())
    else:
        states = ", ".join(f"{state} {activity}" for state, activity in report.states.items())
        console.facts(
            {
                "right segments": f"{report.segments:.1%}, of {', '.join(ACTIVITIES)}",
                "right steps": f"{report.accuracy:.1%}",
                "states": states,
                "codes": f"perplexity {report.perplexity:.1f}, {report.usage:.0%} used",
                "reconstruction": f"{report.psnr:.1f} dB",
                "silhouette": f"{report.silhouette:.2f}",
                "persistence": f"{report.persistence:.3f} of the steps",
                "files": ", ".join(report.files.values()),
            }
        )
    if not report.passed:
        console.show(f"fewer than {WANTED:.0%} of the segments are right")
        raise typer.Exit(console.CHECK_FAILED)
