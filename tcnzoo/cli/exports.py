"""The command that takes a model to another runtime: export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tcnzoo.cli import console
from tcnzoo.cli.options import Hints, InputLength, Json, Overwrite, Seed, assignments
from tcnzoo.errors import InputError
from tcnzoo.runtimes.export import export as run_export
from tcnzoo.runtimes.protocol import Violation, get_check, get_exporter
from tcnzoo.runtimes.report import Comparison, ExportReport

Source = Annotated[
    str, typer.Argument(help="A checkpoint, preset or spec file; or an exported file to --check.")
]
Destination = Annotated[
    Path | None, typer.Argument(help="File to write; default: the source's name and --to's ending.")
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="RUNTIME",
        help="onnx, litert, coreml, executorch, aotinductor or c; default: told from the ending.",
    ),
]


def export(
    source: Source,
    destination: Destination = None,
    to: To = None,
    from_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Of a source file.")
    ] = None,
    hints: Hints = None,
    input_length: InputLength = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Signals of a call, if static.")] = 1,
    vectors: Annotated[bool, typer.Option("--vectors", help="The model takes vectors.")] = False,
    static: Annotated[bool, typer.Option("--static", help="One shape: no open axes.")] = False,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="One step, with the state as inputs and outputs.")
    ] = False,
    rank: Annotated[int, typer.Option(help="4: 1-d convolutions as 1 x k ones (Hailo).")] = 3,
    precision: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    representative: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signals (.npy) for the ranges of int8.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="A signal to compare on.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Random signals to compare on; for int8 up to 500.")
    ] = None,
    check: Annotated[
        str | None, typer.Option(metavar="COMPILER", help="hailo: list what it does not take.")
    ] = None,
    fold: Annotated[
        bool | None, typer.Option("--fold/--no-fold", help="Batch norms into kernels.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model for another runtime, run it there, and compare; exit with 1 if it differs."""
    checker = get_check(check) if check else None
    if checker is not None and destination is None and to is None:
        _finish(None, checker.check(Path(source)), as_json)
        return
    path = destination or _default_destination(source, to)
    with console.working(f"exporting {source}"):
        report = run_export(
            source,
            path,
            to=to,
            from_format=from_format,
            hints=assignments(hints),
            input_length=input_length,
            batch_size=batch_size,
            vectors=vectors,
            dynamic=not static,
            streaming=streaming,
            rank=rank,
            precision=precision,
            representative=representative,
            inputs=inputs,
            samples=samples,
            fold=fold,
            seed=seed,
            overwrite=overwrite,
        )
    _finish(report, checker.check(path) if checker else None, as_json)


def _default_destination(source: str, to: str | None) -> Path:
    """A name in the current directory: the source's, with the ending of the format."""
    if to is None:
        raise InputError("name the runtime (--to) or a file to write")
    return Path(Path(source).name.partition(".")[0] + get_exporter(to).SUFFIX)


def _finish(
    report: ExportReport | None, violations: tuple[Violation, ...] | None, as_json: bool
) -> None:
    """Print what was done and found; exit with 1 if something does not hold."""
    if as_json:
        document: dict[str, Any] = report.to_dict() if report else {}
        if violations is not None:
            document["violations"] = [vars(violation) for violation in violations]
        console.show_json(document)
    else:
        if report is not None:
            _show_report(report)
        if violations is not None:
            _show_violations(violations)
    if violations or (report is not None and not report.passed):
        raise typer.Exit(console.CHECK_FAILED)


def _show_report(report: ExportReport) -> None:
    """Print the size, the differences and the command."""
    console.facts(
        {
            "source": report.source,
            "written": f"{report.destination} ({report.format}, {report.precision})",
            "size": f"{report.size:,} bytes",
        }
    )
    console.show()
    if report.comparisons:
        headings = {"input": "left", "shape": "left", "largest difference": "right"}
        headings |= {"relative": "right", "top-1 agreement": "right", "": "left"}
        console.table(headings, [_row(comparison) for comparison in report.comparisons])
    for note in report.notes:
        console.show(note)
    console.show()
    console.show("Run it:")
    print(report.command)  # as it is: a wrapped line could not be run


def _row(comparison: Comparison) -> tuple[Any, ...]:
    """One comparison, and whether it is within its limit where there is one."""
    shape = " x ".join(map(str, comparison.shape))
    agreement = "-" if comparison.agreement is None else f"{comparison.agreement:.2%}"
    verdict: Any = "" if comparison.limit is None else console.mark(comparison.passed)
    absolute, relative = (
        console.error_text(comparison.absolute),
        console.error_text(comparison.relative),
    )
    return comparison.input, shape, absolute, relative, agreement, verdict


def _show_violations(violations: tuple[Violation, ...]) -> None:
    """Print what a compiler does not take, node by node."""
    if not violations:
        console.show("The check found nothing that the compiler is known to refuse.")
        return
    headings = {"node": "left", "operator": "left", "what to do": "left"}
    console.table(
        headings,
        [(violation.node, violation.operator, violation.advice) for violation in violations],
    )
