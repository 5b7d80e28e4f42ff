"""Commands that look at backends and models: parity, bench, compare, doctor."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.cli import console
from tcnzoo.cli.comparison import show_comparison
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import (
    Device,
    InputLength,
    Json,
    Model,
    Overrides,
    Seed,
    SomeBackends,
    chosen_backends,
    spec_of,
)
from tcnzoo.cli.training_parity import Asked, Precision, show_training
from tcnzoo.errors import InputError
from tcnzoo.files.figures import check_figure
from tcnzoo.specs import Spec, analysis
from tcnzoo.verification.bench import BenchRow, bench as run_bench
from tcnzoo.verification.compare import compare as run_compare
from tcnzoo.verification.doctor import Examination, Finding, examine
from tcnzoo.verification.figure import draw_comparison
from tcnzoo.verification.parity import parity as run_parity
from tcnzoo.zoo import catalog


def parity(
    subject: Model,
    other: Annotated[
        str | None, typer.Argument(help="A second model, compared with the first.")
    ] = None,
    backends: SomeBackends = None,
    input_length: InputLength = None,
    seed: Seed = 0,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare after every layer; name the first that fails.")
    ] = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Check gradients against differences (slow).")
    ] = False,
    train: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Compare N steps of training instead.")
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help="For --train: sgd, adam, adamw, or {kind: sgd, lr: 0.01}.")
    ] = "adamw",
    schedule: Annotated[
        str, typer.Option(help="For --train: constant, or {kind: cosine, warmup_steps: 5}.")
    ] = "constant",
    clip_norm: Annotated[float | None, typer.Option(help="For --train.")] = None,
    clip_value: Annotated[float | None, typer.Option(help="For --train.")] = None,
    precision: Annotated[
        Precision, typer.Option(help="For --train: 64-true proves at rates of real training.")
    ] = Precision.SINGLE,
    batch_size: Annotated[int, typer.Option(min=1, help="For --train: signals of a batch.")] = 8,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare backends with the float64 reference; exit with 1 if one differs beyond tolerance."""
    model, names = _subject(subject, overrides), chosen_backends(backends)
    for source in (model, other):
        if source is not None:
            catalog.load_spec(source)
    if train is not None:
        if other is not None or layers or gradients:
            raise InputError("--train stands alone: no second model, no --layers, no --gradients")
        asked = Asked(train, optimizer, schedule, clip_norm, clip_value, precision, batch_size)
        asked.check()
        import_backends(names)
        length = input_length or _preset_length(subject)
        title = str(subject)
        if not show_training(
            title, model, names, asked, input_length=length, seed=seed, as_json=as_json
        ):
            raise typer.Exit(console.CHECK_FAILED)
        return
    import_backends(names)
    with console.working("starting") as tell:
        report = run_parity(
            model,
            other,
            names,
            input_length=input_length or _preset_length(subject),
            seed=seed,
            layers=layers,
            gradients=gradients,
            progress=tell,
        )
    if as_json:
        console.show_json({**report.to_dict(), "subject": subject})
    else:
        _show_parity(subject if other is None else report.subject, report)
    if not report.passed:
        raise typer.Exit(console.CHECK_FAILED)


def bench(
    source: Model,
    backends: SomeBackends = None,
    input_length: InputLength = None,
    chunks: Annotated[str, typer.Option(metavar="N,N", help="Samples of a step.")] = "1,16,256",
    rounds: Annotated[int, typer.Option(min=1, help="Calls of each backend and task.")] = 7,
    device: Device = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Time a forward pass and streaming steps in each backend, in turns."""
    spec = spec_of(source, overrides)
    length = input_length or _preset_length(source) or analysis.default_length(spec)
    names, sizes = chosen_backends(backends), _sizes(chunks)
    import_backends(names)
    with console.working("starting") as tell:
        measured = run_bench(
            spec,
            names,
            input_length=length,
            chunks=sizes,
            rounds=rounds,
            device=device,
            progress=tell,
        )
    if as_json:
        about = {"model": source, "input_length": length, "rounds": rounds}
        console.show_json({**about, "rows": [asdict(row) for row in measured]})
        return
    _show_bench(source, length, rounds, measured)


def compare(
    sources: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Presets, spec files or checkpoints.")
    ],
    backends: Annotated[
        str | None, typer.Option("--backends", "--backend", metavar="A,B", help="Default: torch.")
    ] = None,
    input_length: InputLength = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Signals of a call.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 5,
    device: Device = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw a chart of it, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure models beside each other: size, cost, memory, time; with and without Mamba layers."""
    names = chosen_backends(backends) or ["torch"]
    check_figure(figure)
    for source in sources:
        catalog.load_spec(source)
    import_backends(names)
    with console.working("starting") as tell:
        comparison = run_compare(
            sources,
            names,
            input_length=input_length,
            batch_size=batch_size,
            rounds=rounds,
            device=device,
            progress=tell,
        )
    if figure is not None:
        draw_comparison(figure, comparison)
    if as_json:
        console.show_json(comparison.to_dict())
        return
    show_comparison(comparison)


def doctor(
    folder: Annotated[
        Path, typer.Argument(help="Clean up after killed writes here and below.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Tell what is installed, whether it computes and what is slow; clean up killed writes."""
    if not folder.is_dir():
        raise InputError(f"no directory at {str(folder)!r}")
    import_backends()
    with console.working("trying every backend"):
        examination = examine(folder)
    if as_json:
        console.show_json(examination.to_dict())
    else:
        _show_examination(examination)
    if not examination.passed:
        raise typer.Exit(console.CHECK_FAILED)


def _subject(source: str, overrides: list[str] | None) -> str | Spec:
    """What `parity` compares; a checkpoint's fields stay, since its weights are given."""
    if not overrides:
        return source
    if Path(source).is_dir():
        raise InputError(f"--set changes presets and spec files, but {source!r} is a checkpoint")
    return spec_of(source, overrides)


def _preset_length(source: str) -> int | None:
    """Time steps that a model is meant for, where its preset or file says it."""
    facts = catalog.input_facts(source)
    return facts.length if facts else None


def _sizes(text: str) -> list[int]:
    """Chunk sizes from a comma-separated list."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and int(part) for part in parts):
        raise InputError(f"--chunks takes numbers of samples such as 1,16,256, but got {text!r}")
    return [int(part) for part in parts]


def _show_parity(title: str, report: ParityReport) -> None:
    """Print the verdict on each backend, the layers, and the first that diverges."""
    shape = " x ".join(str(size) for size in report.input_shape)
    headings = {"backend": "left", "trainable": "right", "buffers": "right", "output": "right"}
    headings |= {"streamed": "right", "gradients": "right", "": "left"}
    table = [
        (
            row.backend,
            row.trainable,
            row.buffers,
            console.error_text(row.output_error),
            console.error_text(row.stream_error),
            console.error_text(row.gradient_error),
            console.mark(row.passed),
        )
        for row in report.rows
    ]
    console.table(headings, table, f"{title}: input {shape}, tolerance {report.tolerance:g}")
    if report.layers:
        console.show()
        _show_layers(report)
    for backend, path in report.first_divergence.items():
        console.show(f"{backend}: the first layer that diverges is {path}")


def _show_layers(report: ParityReport) -> None:
    """Print the error after each layer, with an arrow at the first that diverges."""
    backends = [row.backend for row in report.rows]
    first = report.first_divergence
    table: list[list[str]] = []
    for layer in report.layers:
        cells = [console.error_text(layer.errors.get(name)) for name in backends]
        here = [name for name in backends if first.get(name) == layer.path]
        table.append([layer.path, *cells, f"<- {', '.join(here)}" if here else ""])
    headings = {"layer": "left"} | dict.fromkeys(backends, "right") | {"": "left"}
    console.table(headings, table)


def _show_bench(source: str, length: int, rounds: int, measured: list[BenchRow]) -> None:
    """Print medians, and the ratio to the fastest backend of each task."""
    best = {
        row.task: min(r.milliseconds for r in measured if r.task == row.task) for row in measured
    }
    headings = {"task": "left", "backend": "left", "median ms": "right", "range ms": "right"}
    headings |= {"samples/s": "right", "to fastest": "right"}
    console.table(
        headings,
        [
            (
                row.task,
                row.backend,
                f"{row.milliseconds:.3g}",
                f"{row.fastest:.3g} - {row.slowest:.3g}",
                f"{row.samples_per_second:,.0f}",
                f"{row.milliseconds / best[row.task]:.2f}x",
            )
            for row in measured
        ],
        f"{source}: batch 1, {length} steps, {rounds} rounds",
    )
    for row in measured:
        if row.engines:
            console.show(f"engines of {row.task}, {row.backend}: {row.engines}")


def _show_examination(examination: Examination) -> None:
    """Print the backends and the advice."""
    console.show(f"Python {examination.python}, {examination.system}, {examination.cores} cores")
    console.show(examination.processor)
    console.show()
    headings = {"backend": "left", "versions": "left", "devices": "left", "types": "left"}
    headings |= {"error": "right", "": "left"}
    console.table(headings, [_examined(finding) for finding in examination.findings])
    for finding in examination.findings:
        if finding.problem or finding.info.note:
            console.show(f"{finding.info.name}: {finding.problem or finding.info.note}")
    for sentence in examination.advice:
        console.show(f"slow: {sentence}")
    for path in examination.settled:
        console.show(f"cleaned up after a write that was killed: {path}")
    console.show()
    _show_engines(examination)


def _show_engines(examination: Examination) -> None:
    """Print what was measured on this machine, and whether it counts."""
    if examination.engine_asked is not None:
        console.show(
            f"TCNZOO_ENGINE={examination.engine_asked}: this engine runs wherever it is offered, "
            "whatever was measured"
        )
    if not examination.engines:
        console.show(f"engines: nothing was measured yet ({examination.engine_file})")
        return
    table = []
    for choice in examination.engines:
        times = sorted(choice.seconds.items(), key=lambda item: item[1])
        least = ", ".join(f"{name} {seconds * 1e3:.3g}" for name, seconds in times)
        table.append((choice.operation, choice.shape, choice.engine, least))
    headings = dict.fromkeys(("operation", "shape", "engine", "least ms"), "left")
    console.table(headings, table, f"engines by measurement: {examination.engine_file}")


def _examined(finding: Finding) -> tuple[Any, ...]:
    """One row of the doctor's table."""
    info = finding.info
    verdict: Any = console.mark(finding.passed) if info.installed else "absent"
    versions = "\n".join(f"{name} {version}" for name, version in info.versions.items())
    error = console.error_text(finding.error)
    return info.name, versions, ", ".join(info.devices), ", ".join(info.dtypes), error, verdict
