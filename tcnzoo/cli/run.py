"""Commands that compute: predict and stream."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tcnzoo
from tcnzoo.arrays import Array, to_numpy
from tcnzoo.checkpoints import streaming_states
from tcnzoo.cli import console
from tcnzoo.cli.eeg import DEFAULT_GAPS, Gaps, check_gaps, stream_recording
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import (
    Checkpoint,
    Device,
    Dtype,
    Embeddings,
    Json,
    OneBackend,
    Signal,
    check_checkpoint,
    chosen_backend,
)
from tcnzoo.eeg.recordings import is_recording
from tcnzoo.eeg.scales import size_remark
from tcnzoo.errors import InputError, suggestion
from tcnzoo.files import signals
from tcnzoo.files.atomic import check_destination, check_distinct
from tcnzoo.models.streaming import check_policy

# A prediction of so few values is printed, not only written.
FEW = 16

Output = Annotated[Path | None, typer.Option("--output", help=".npy or .csv to write.")]
StateIn = Annotated[
    Path | None, typer.Option("--state-in", help="State to start from, a .safetensors file.")
]
Nonfinite = Annotated[
    str,
    typer.Option(help="raise, hold or reset, where a part would keep NaN or infinity for ever."),
]
StateOut = Annotated[
    Path | None, typer.Option("--state-out", help="Where to leave the state after the last chunk.")
]


def predict(
    checkpoint: Checkpoint,
    source: Signal,
    destination: Output = None,
    backend: OneBackend = None,
    embeddings: Embeddings = None,
    device: Device = None,
    dtype: Dtype = None,
    output: Annotated[
        str | None, typer.Option("--name", help="Which output, of a model with several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a checkpoint on a recording, all of it at once."""
    signals.check_writable(destination)
    arrays = [signals.read_signal(path) for path in embeddings or ()]
    model, x, single = _loaded(checkpoint, source, backend, device, dtype)
    with console.working("computing"):
        begin = time.perf_counter()
        y = tcnzoo.predict(model, x, embeddings=arrays)
        seconds = time.perf_counter() - begin
    if isinstance(y, dict):
        if output is None:
            raise InputError(
                f"the model has several outputs ({', '.join(y)}); choose one with --name"
            )
        if output not in y:
            raise InputError(f"no output {output!r}{suggestion(output, list(y))}")
        y = y[output]
    elif output is not None:
        raise InputError(f"the model has one output, so --name {output} means nothing")
    y = to_numpy(y)
    if y.ndim == 0:
        y, single = y[None], False
    _write(destination, y[0] if single else y)
    report = _report(model, x, y, seconds, destination)
    if y.size <= FEW:
        report["values"] = y[0] if single else y
    _show_report(report, as_json)


def stream(
    checkpoint: Checkpoint,
    source: Signal,
    destination: Output = None,
    chunk: Annotated[int, typer.Option(min=1, help="Time steps of a chunk.")] = 256,
    gaps: Gaps = DEFAULT_GAPS,
    state_in: StateIn = None,
    state_out: StateOut = None,
    backend: OneBackend = None,
    embeddings: Embeddings = None,
    device: Device = None,
    dtype: Dtype = None,
    nonfinite: Nonfinite = "raise",
    as_json: Json = False,
) -> None:
    """Run a checkpoint on a recording chunk by chunk, as it would come in.

    An EEG recording (.edf, .bdf, .rec, .fif, .fif.gz) goes to the seizure detector, whose events
    are printed.
    """
    check_gaps(gaps)
    check_policy(nonfinite)
    if is_recording(source):
        if state_in or state_out or embeddings:
            raise InputError("a recording is streamed from its start, without state or embeddings")
        stream_recording(
            checkpoint,
            source,
            destination,
            chunk,
            gaps,
            backend,
            device,
            dtype,
            nonfinite,
            as_json,
        )
        return
    if gaps != DEFAULT_GAPS:
        raise InputError(f"--gaps is for EEG recordings, but the input is {str(source)!r}")
    signals.check_writable(destination)
    check_distinct((), (destination, state_out))
    if state_out is not None:
        streaming_states.check_suffix(state_out)
        check_destination(state_out)
    arrays = [signals.read_signal(path) for path in embeddings or ()]
    given = None if state_in is None else streaming_states.read_state(state_in)
    model, x, single = _loaded(checkpoint, source, backend, device, dtype)
    state = tcnzoo.init_state(model, x.shape[0]) if given is None else given
    outputs: list[Array] = []
    begin = time.perf_counter()
    with console.working("streaming") as tell:
        for start, piece, parts in _chunks(x, arrays, chunk):
            tell(f"streaming: step {start:,} of {x.shape[-1]:,}")
            y, state = tcnzoo.step(model, piece, state, embeddings=parts, nonfinite=nonfinite)
            outputs.append(to_numpy(y))
    seconds = time.perf_counter() - begin
    y = np.concatenate(outputs, axis=-1)
    _write(destination, y[0] if single else y)
    if state_out is not None:
        streaming_states.write_state(state_out, state)
    report = _report(model, x, y, seconds, destination)
    report |= {"chunks": len(outputs), "state": str(state_out) if state_out else None}
    _show_report(report, as_json)


def _loaded(
    checkpoint: Path, source: Path, backend: str | None, device: str | None, dtype: str | None
) -> tuple[Any, Array, bool]:
    """The model, the signal as (batch, channels, time), and whether it is a single recording."""
    name = chosen_backend(backend)
    check_checkpoint(checkpoint)
    x = signals.read_signal(source)
    import_backends([name])
    with console.working(f"loading {checkpoint} into {name}"):
        model = tcnzoo.load(checkpoint, backend=name, device=device, dtype=dtype)
    rank = model.tcnzoo.rank
    if x.ndim not in (rank - 1, rank):
        axes = "channels, devices, time" if rank == 4 else "channels, time"
        raise InputError(
            f"{str(source)!r} must be ({axes}) or (batch, {axes}), but has shape {x.shape}"
        )
    single = x.ndim == rank - 1
    x = x[None] if single else x
    channels = model.tcnzoo.spec.input_channels
    if channels not in (None, x.shape[1]):
        turned = "; its axes are the other way round" if channels == x.shape[-1] else ""
        raise InputError(
            f"the model takes {channels} channels, but {str(source)!r} has {x.shape[1]} on its "
            f"channel axis: shape {x.shape[single:]}{turned}"
        )
    unit = model.tcnzoo.spec.input_unit
    remark = None if unit is None else size_remark(x, unit)
    if remark:
        console.say(f"warning: {remark}")
    return model, x, single


def _chunks(
    x: Array, embeddings: Sequence[Array], length: int
) -> Iterator[tuple[int, Array, list[Array]]]:
    """Yield the start of each chunk, its steps, and the embeddings that go with it."""
    for start in range(0, x.shape[-1], length):
        span = slice(start, start + length)
        yield start, x[..., span], [e[:, :, span] if e.ndim == 3 else e for e in embeddings]


def _write(destination: Path | None, y: Array) -> None:
    """Write the output; 16-bit floats that .npy does not know go as float32."""
    if destination is not None:
        known = y.dtype.kind in "fi"
        signals.write_signal(destination, y if known else y.astype(np.float32))


def _report(
    model: Any, x: Array, y: Array, seconds: float, destination: Path | None
) -> dict[str, Any]:
    """What was computed."""
    if not np.isfinite(y).all():
        console.say("warning: the output holds NaN or infinite values")
    return {
        "backend": model.tcnzoo.backend,
        "dtype": model.tcnzoo.dtype,
        "input": x.shape,
        "output": y.shape,
        "seconds": seconds,
        "file": str(destination) if destination else None,
    }


def _show_report(report: dict[str, Any], as_json: bool) -> None:
    """Print the report, unless the output itself went to where it would be printed."""
    if report["file"] == "/dev/stdout":
        return
    if as_json:
        console.show_json(report)
        return
    text = {name: _text(value) for name, value in report.items() if value is not None}
    console.facts(text | {"seconds": f"{report['seconds']:.3g}"})


def _text(value: Any) -> str:
    """A value of a report."""
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=6)
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
