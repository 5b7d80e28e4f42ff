"""Commands on checkpoint files: convert and inspect."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from tcnzoo.cli import console
from tcnzoo.cli.options import Hints, Json, Overwrite, assignments
from tcnzoo.formats.protocol import convert as run_convert, inspect as run_inspect
from tcnzoo.formats.report import ConversionReport, Inspection
from tcnzoo.specs import Spec
from tcnzoo.specs.params import ParamCount, count

FromFormat = Annotated[
    str | None, typer.Option("--from", metavar="FORMAT", help="Default: told from the content.")
]
ToFormat = Annotated[
    str | None, typer.Option("--to", metavar="FORMAT", help="Default: told from the ending.")
]

ShardSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Split a directory in files of, say, 500MB; default: 5GB."),
]


def convert(
    source: Annotated[Path, typer.Argument(help="A checkpoint file or directory.")],
    destination: Annotated[Path, typer.Argument(help="The file or directory to write.")],
    from_format: FromFormat = None,
    to_format: ToFormat = None,
    hints: Hints = None,
    overwrite: Overwrite = False,
    max_shard_size: ShardSize = None,
    as_json: Json = False,
) -> None:
    """Convert a checkpoint between frameworks and libraries; every tensor keeps its bits."""
    with console.working(f"converting {source}"):
        report = run_convert(
            source,
            destination,
            from_format=from_format,
            to_format=to_format,
            hints=assignments(hints),
            overwrite=overwrite,
            max_shard_size=max_shard_size,
        )
    if as_json:
        console.show_json({**vars(report), "spec": report.spec.model_dump(mode="json")})
        return
    _show_conversion(report)


def inspect(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint file or directory.")],
    from_format: FromFormat = None,
    hints: Hints = None,
    as_json: Json = False,
) -> None:
    """Tell what a checkpoint is: format, model, and what becomes of each tensor."""
    with console.working(f"reading {source}"):
        inspection = run_inspect(source, from_format=from_format, hints=assignments(hints))
    if as_json:
        spec = inspection.spec.model_dump(mode="json") if inspection.spec else None
        tensors = [vars(row) for row in inspection.tensors]
        console.show_json({**vars(inspection), "spec": spec, "tensors": tensors})
        return
    _show_inspection(inspection)


def _show_conversion(report: ConversionReport) -> None:
    """Print what became of the tensors."""
    facts = {"read": f"{report.source} ({report.from_format})"}
    if report.assumed:
        facts["assumed"] = _pairs(report.assumed)
    facts |= {
        "written": f"{report.destination} ({report.to_format})",
        "model": report.spec.kind,
        "tensors": f"{report.tensors} written, {_counts_text(count(report.spec.params()))}",
    }
    console.facts(facts)
    _show_reasons("dropped", report.dropped)
    _show_reasons("not written", report.left_out)


def _show_reasons(what: str, reasons: Mapping[str, str]) -> None:
    """Print which tensors share a reason."""
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, why in reasons.items() if why == reason]
        console.show(f"{what}: {', '.join(names)}: {reason}")


def _show_inspection(inspection: Inspection) -> None:
    """Print the format, what is known of the model, and the tensors."""
    facts = {"file": inspection.path, "format": inspection.format}
    if inspection.spec is None:
        facts |= {"missing": inspection.missing or "", "known": _pairs(inspection.known)}
    else:
        if inspection.assumed:
            facts["assumed"] = _pairs(inspection.assumed)
        facts |= {
            "model": inspection.spec.kind,
            "parameters": _counts_text(count(inspection.spec.params())),
        }
    console.facts(facts)
    console.show()
    if inspection.spec is not None:
        print(_spec_text(inspection.spec))  # as it is: a wrapped line is no YAML
    headings = {"tensor": "left", "shape": "right", "type": "left", "role": "left"}
    headings |= {"becomes": "left"}
    tensors = [
        (
            row.name,
            " x ".join(map(str, row.shape)) or "scalar",
            row.dtype,
            row.role or "-",
            row.used_as or (f"dropped: {row.dropped}" if row.dropped else "-"),
        )
        for row in inspection.tensors
    ]
    console.table(headings, tensors)


def _spec_text(spec: Spec) -> str:
    """A spec as YAML, without the fields that have their default value."""
    full = spec.model_dump(mode="json")
    document = _with_kinds(spec.model_dump(mode="json", exclude_defaults=True), full)
    return yaml.safe_dump({"spec": document}, sort_keys=False, default_flow_style=None, width=100)


def _with_kinds(short: Any, full: Any) -> Any:
    """A document without default values, but with every kind."""
    if not isinstance(short, dict):
        return short
    inner = {name: _with_kinds(value, full[name]) for name, value in short.items()}
    return {"kind": full["kind"], **inner} if "kind" in full else inner


def _counts_text(size: ParamCount) -> str:
    """Counts as text."""
    text = f"{size.trainable:,} trainable"
    return f"{text}, {size.buffers:,} running statistics" if size.buffers else text


def _pairs(values: Mapping[str, Any]) -> str:
    """Fields and values, as `--set` takes them."""
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "nothing"
