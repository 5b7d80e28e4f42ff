"""Commands on descriptions: list, describe, init."""

import json
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from tcnzoo.cli import console
from tcnzoo.cli.options import InputLength, Json, Literally, Overrides, Overwrite, Seed, spec_of
from tcnzoo.errors import InputError, number_text
from tcnzoo.specs import SPEC_ADAPTER, Spec, analysis
from tcnzoo.specs.params import count, initial_weights
from tcnzoo.verification.measured_engines import engines_text, known_engines
from tcnzoo.zoo import catalog


def list_models(as_json: Json = False) -> None:
    """List the presets: what they are, how large, and for which signal."""
    presets = [catalog.preset(name) for name in catalog.list_models()]
    sizes = [count(catalog.load_spec(preset.spec).params()) for preset in presets]
    if as_json:
        pairs = zip(presets, sizes, strict=True)
        documents = [
            {**preset.model_dump(exclude={"spec"}), **size._asdict()} for preset, size in pairs
        ]
        console.show_json(documents)
        return
    for preset, size in zip(presets, sizes, strict=True):
        title = f"{preset.name}: {_size_text(*size)} parameters, input {_input_text(preset.input)}"
        console.entry(title, preset.description)


def describe(
    source: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A preset, a spec file, or a checkpoint directory."),
    ] = None,
    input_length: InputLength = None,
    overrides: Overrides = None,
    literal: Literally = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of specs instead.")
    ] = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the whole spec, defaults included, instead.")
    ] = False,
    head_map: Annotated[
        Path | None,
        typer.Option(help="Draw the noise gain of its channel adapter into this .png file, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tabulate a model: shapes, parameters, multiply-accumulates, receptive field, latency."""
    if schema:
        print(json.dumps(SPEC_ADAPTER.json_schema(), indent=2))
        return
    if source is None:
        raise InputError("describe takes a model; tcnzoo list shows the presets")
    spec = spec_of(source, overrides, literal=literal)
    if as_yaml:
        import yaml

        document = spec.model_dump(mode="json")
        print(json.dumps(document) if as_json else yaml.safe_dump(document, sort_keys=False))
        return
    if head_map is not None:
        from tcnzoo.verification.head_map import draw_head_map

        draw_head_map(head_map, spec)
    facts = catalog.input_facts(source)
    description = analysis.describe(spec, input_length or (facts.length if facts else None))
    rate = facts.sampling_rate if facts else None
    engines = known_engines(spec)
    if as_json:
        document = {"model": source, "kind": spec.kind, "sampling_rate": rate}
        more = {"min_length": spec.min_length(), "engines": [asdict(choice) for choice in engines]}
        console.show_json({**document, **description.to_dict(), **more})
        return
    _show_layers(source, description)
    _show_facts(spec, description, rate, engines_text(engines))


def init(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="A preset or a spec file.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT", help="The new directory.")],
    seed: Seed = 0,
    overrides: Overrides = None,
    literal: Literally = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a checkpoint directory with initial weights; no framework is needed."""
    from tcnzoo.checkpoints.directory import write_checkpoint

    spec = spec_of(source, overrides, literal=literal)
    table = spec.params()
    write_checkpoint(destination, spec, initial_weights(table, seed), overwrite=overwrite)
    size = count(table)
    if as_json:
        written = {"model": source, "directory": str(destination), "seed": seed}
        console.show_json({**written, **size._asdict()})
        return
    console.show(
        f"{destination}: {len(table)} tensors of {_size_text(*size)} values, drawn with seed {seed}"
    )


def _size_text(trainable: int, buffers: int) -> str:
    """Counts as text; `+ n` stands for running statistics."""
    return number_text(trainable) + (f" + {number_text(buffers)}" if buffers else "")


def _input_text(facts: catalog.InputFacts) -> str:
    """The signal of a preset, as `19 x 15360 at 256 Hz`."""
    rate = f" at {facts.sampling_rate:g} Hz" if facts.sampling_rate else ""
    devices = f" x {facts.devices}" if facts.devices else ""
    return f"{facts.channels}{devices} x {facts.length}{rate}"


def _shape_text(shape: tuple[int, ...]) -> str:
    """A shape as `19 x 15360`."""
    return " x ".join(str(size) if size < 10**15 else number_text(size) for size in shape)


def macs_text(macs: int) -> str:
    """A number of operations with three digits and a unit."""
    if macs >= 10**15:
        return number_text(macs)
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= size:
            return f"{macs / size:.3g} {unit}"
    return str(macs)


def _show_layers(source: str, description: analysis.Description) -> None:
    """Print the table of layers."""
    headings = {"layer": "left", "kind": "left", "output": "right", "params": "right"}
    if description.buffers:
        headings["buffers"] = "right"
    headings |= {"MACs": "right", "field": "right"}
    table: list[list[Any]] = []
    for layer in description.layers:
        buffers = [layer.buffers] if description.buffers else []
        shape = _shape_text(layer.output_shape)
        start = [layer.path, layer.kind, shape, layer.trainable, *buffers]
        table.append([*start, macs_text(layer.macs), layer.receptive_field])
    title = f"{source}: input {_shape_text(description.input_shape)}"
    console.table(headings, table, title)


def _show_facts(
    spec: Spec, description: analysis.Description, rate: float | None, engines: str
) -> None:
    """Print what holds for the whole model."""

    def steps(number: int) -> str:
        seconds = f" ({Decimal(number) / Decimal(rate):.3g} s at {rate:g} Hz)" if rate else ""
        return f"{number_text(number)} step{'' if number == 1 else 's'}{seconds}"

    counts = f"{number_text(description.trainable)} trainable"
    if description.buffers:
        counts += f", {number_text(description.buffers)} running statistics"
    facts = {
        "parameters": counts,
        "cost": f"{macs_text(description.macs)} multiply-accumulates a signal",
        "receptive field": steps(description.receptive_field),
        "shortest signal": steps(spec.min_length()),
    }
    if len(description.output_shape) == 2 and description.stride != "1":
        facts["output step every"] = f"{description.stride} input steps"
    facts |= description.remarks
    if description.mamba2:
        facts["mamba2"] = "; ".join(f"{fact}: {got}" for fact, got in description.mamba2.items())
    if description.whole_signal:
        facts["whole signal"] = f"seen by {', '.join(description.whole_signal)}"
    if description.obstacle is None:
        values = f"state of {number_text(description.state_values)} values"
        facts["streaming"] = f"latency {steps(description.latency or 0)}, {values}"
    else:
        facts["streaming"] = f"no: {description.obstacle}"
    facts["engines"] = f"measured here: {engines}" if engines else "not measured here yet"
    console.show()
    console.facts(facts)
