"""Commands on EEG recordings: detect, and stream where its input is a recording."""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tcnzoo
from tcnzoo.cli import console
from tcnzoo.cli.frameworks import import_backends
from tcnzoo.cli.options import (
    Checkpoint,
    Device,
    Dtype,
    Json,
    OneBackend,
    check_checkpoint,
    chosen_backend,
)
from tcnzoo.eeg import figure
from tcnzoo.eeg.annotations import Annotations, Event, within
from tcnzoo.eeg.detector import Detector, Latency, stream
from tcnzoo.eeg.event_files import event_row
from tcnzoo.eeg.events import check_suffix, read_events, write_events
from tcnzoo.eeg.pipeline import Detection, detect as run_detect, preprocessing_for
from tcnzoo.eeg.postprocess import PostProcessing
from tcnzoo.eeg.preprocess import MODES, Preprocessing, check_signal
from tcnzoo.eeg.recordings import Recording, read_recording
from tcnzoo.eeg.scoring import Scores, check_scorer, score
from tcnzoo.errors import InputError
from tcnzoo.files import check_destination
from tcnzoo.needs import check_figure
from tcnzoo.signals import check_writable, write_signal

_DEFAULTS = PostProcessing()

Source = Annotated[Path, typer.Argument(help="The recording, .edf, .bdf or .fif.")]
Truth = Annotated[
    Path | None, typer.Option("--truth", help="Known events to score against: .tsv, .csv, .json.")
]
SeizureLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--seizure-label",
        metavar="NAME",
        help="A label of --truth that stands for seizures besides sz*, seizure and NEDC's; may be "
        "given several times.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", help="Events to write: .tsv (BIDS), .csv or .json.")
]
CsvBi = Annotated[
    Path | None, typer.Option("--csv-bi", help="Events to write as NEDC's CSV_BI as well.")
]
Picture = Annotated[Path | None, typer.Option("--figure", help=".png to draw.")]
Probabilities = Annotated[
    Path | None, typer.Option("--probabilities", help=".npy or .csv to write, one a sample.")
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--preprocessing",
        metavar="|".join(MODES),
        help="Default: causal where the model can stream, else origin.",
    ),
]
Notch = Annotated[
    float, typer.Option("--notch", min=0.0, help="Frequency of the mains in Hz; 0 for no notch.")
]
On = Annotated[float, typer.Option("--threshold-on", help="Probability that begins an event.")]
Off = Annotated[float, typer.Option("--threshold-off", help="Probability that ends an event.")]


def detect(
    checkpoint: Checkpoint,
    source: Source,
    truth: Truth = None,
    seizure_labels: SeizureLabels = None,
    destination: Output = None,
    csv_bi: CsvBi = None,
    picture: Picture = None,
    probabilities: Probabilities = None,
    preprocessing: Mode = None,
    notch: Notch = 60.0,
    threshold_on: On = _DEFAULTS.tau_on,
    threshold_off: Off = _DEFAULTS.tau_off,
    backend: OneBackend = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Find the seizures in an EEG recording, and score them where the truth is known."""
    after = PostProcessing(tau_on=threshold_on, tau_off=threshold_off)
    _check_outputs(destination, csv_bi, picture)
    check_writable(probabilities)
    check_checkpoint(checkpoint)
    known = _truth(truth, seizure_labels or [])
    with console.working(f"reading {source}") as tell:
        recording = read_recording(source)
        known = None if known is None else within(known, recording.duration)
        tell("loading the model")
        model = _model(checkpoint, backend, device, dtype)
        mode = preprocessing or preprocessing_for(model).mode
        before = Preprocessing(mode=mode, notch=notch or None)  # type: ignore[arg-type]
        begin = time.perf_counter()
        found = run_detect(model, recording, preprocessing=before, postprocessing=after, say=tell)
        seconds = time.perf_counter() - begin
    # Before anything is written, so that what cannot be scored leaves no file behind.
    scores = None if known is None else score(known, found.annotations, recording.duration)
    _write(found, destination, csv_bi)
    if probabilities is not None:
        write_signal(probabilities, found.probabilities)
    if picture is not None:
        figure.draw(picture, found, known)
    files = [destination, csv_bi, picture, probabilities]
    report = _report(model, recording, found.events, seconds, files)
    report |= {
        "preprocessing": mode,
        "truth": None if known is None else _known(known),
        "scores": None if scores is None else scores.to_dict(),
    }
    _tell(report, found.events, scores, as_json)


def stream_recording(
    checkpoint: Path,
    source: Path,
    destination: Path | None,
    chunk: int,
    backend: str | None,
    device: str | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Find the seizures in a recording chunk by chunk, as it would come in.

    Args:
        checkpoint, source, chunk, backend, device, dtype, as_json: as of the command `stream`.
        destination: .npy or .csv for the probabilities, or a .tsv, .csv_bi or .json of events.
    """
    as_signal = destination is not None and destination.suffix in (".npy", ".csv")
    check_writable(destination if as_signal else None)
    _check_outputs(None if as_signal else destination, None, None)
    check_checkpoint(checkpoint)
    with console.working(f"reading {source}") as tell:
        recording = read_recording(source)
        before = Preprocessing(mode="causal")
        check_signal(recording, before)
        tell("loading the model")
        model = _model(checkpoint, backend, device, dtype)
        detector = Detector(model, recording.sampling_rate, preprocessing=before)
        events, pieces = [], []
        begin = time.perf_counter()
        for place, (piece, some) in enumerate(stream(detector, recording, chunk)):
            came = min(place * chunk, recording.signal.shape[1]) / recording.sampling_rate
            tell(f"streaming: {came:.1f} s of {recording.duration:.1f} s")
            events += some
            pieces.append(piece)
        seconds = time.perf_counter() - begin
    if destination is not None:
        probabilities = np.concatenate(pieces)
        found = Detection(recording, probabilities, before.sampling_rate, tuple(events), _DEFAULTS)
        if as_signal:
            write_signal(destination, probabilities)
        else:
            _write(found, destination, None)
    report = _report(model, recording, tuple(events), seconds, [destination])
    report |= {"chunks": len(pieces) - 1, "latency": _latency(detector.latency)}
    _tell(report, tuple(events), None, as_json)


def _truth(path: Path | None, labels: list[str]) -> Annotations | None:
    """The known events, once it is certain that they can be scored."""
    if path is None:
        if labels:
            raise InputError("--seizure-label is for the labels of --truth, which is missing")
        return None
    check_scorer()
    return read_events(path, labels)


def _known(truth: Annotations) -> dict[str, Any]:
    """What was taken for the truth, and what was not."""
    return {
        "seizures": len(truth.spans),
        "left_out": dict(truth.left_out),
        "notes": list(truth.notes),
    }


def _model(checkpoint: Path, backend: str | None, device: str | None, dtype: str | None) -> Any:
    """The model of a checkpoint in a backend."""
    name = chosen_backend(backend)
    import_backends([name])
    return tcnzoo.load(checkpoint, backend=name, device=device, dtype=dtype)


def _check_outputs(events: Path | None, csv_bi: Path | None, picture: Path | None) -> None:
    """Refuse files that could not be written, before the work starts."""
    for path in (events, csv_bi):
        if path is not None:
            check_suffix(path)
            check_destination(path)
    if csv_bi is not None and csv_bi.suffix.lower() not in (".csv", ".csv_bi"):
        raise InputError(f"CSV_BI is a .csv or .csv_bi file, but got {str(csv_bi)!r}")
    check_figure(picture, extra="eeg")


def _write(found: Detection, *destinations: Path | None) -> None:
    """Write the events to each file."""
    for path in destinations:
        if path is not None:
            write_events(path, found.annotations)


def _report(
    model: Any,
    recording: Recording,
    events: tuple[Event, ...],
    seconds: float,
    files: list[Path | None],
) -> dict[str, Any]:
    """What both commands tell."""
    return {
        "backend": model.tcnzoo.backend,
        "recording": str(recording.path),
        "duration": recording.duration,
        "sampling_rate": recording.sampling_rate,
        "events": [event_row(event) for event in events],
        "seconds": seconds,
        "files": [str(path) for path in files if path is not None],
    }


def _latency(latency: Latency) -> dict[str, float]:
    """The latency and its parts, in s."""
    return {
        "preprocessing": latency.preprocessing,
        "model": latency.model,
        "events": latency.events,
        "total": latency.total,
        "total_at_most": latency.total_at_most,
    }


def _tell(
    report: dict[str, Any], events: tuple[Event, ...], scores: Scores | None, as_json: bool
) -> None:
    """Print the report."""
    if as_json:
        console.show_json(report)
        return
    headings = dict.fromkeys(("start (s)", "stop (s)", "duration (s)", "confidence"), "right")
    rows = [
        (f"{e.start:.2f}", f"{e.stop:.2f}", f"{e.duration:.2f}", f"{e.confidence:.3f}")
        for e in events
    ]
    console.table(headings, rows, f"{len(rows)} event{'' if len(rows) == 1 else 's'}")
    console.show()
    if scores is not None:
        _show_scores(scores)
    console.facts(_facts(report))


def _facts(report: dict[str, Any]) -> dict[str, str]:
    """The lines below the events."""
    speed = report["duration"] / max(report["seconds"], 1e-9)
    lines = {
        "recording": f"{report['duration']:g} s at {report['sampling_rate']:g} Hz",
        "backend": report["backend"],
        "seconds": f"{report['seconds']:.3g} ({speed:,.0f} times real time)",
    }
    if "preprocessing" in report:
        lines["preprocessing"] = report["preprocessing"]
    if report.get("truth") is not None:
        lines["truth"] = _truth_line(report["truth"])
    if "latency" in report:
        latency = report["latency"]
        lines["latency"] = (
            f"{latency['total']:.2f} s from the end of an event until it is given out, "
            f"at most {latency['total_at_most']:.2f} s; {latency['model'] * 1000:.0f} ms of it in "
            f"the model, {latency['preprocessing'] * 1000:.0f} ms before it"
        )
    return lines | ({"files": ", ".join(report["files"])} if report["files"] else {})


def _truth_line(truth: dict[str, Any]) -> str:
    """How many seizures the truth has, and which labels of it are none."""
    count = truth["seizures"]
    line = f"{count} seizure{'' if count == 1 else 's'}"
    others = ", ".join(f"{name} ({number:,})" for name, number in truth["left_out"].items())
    return f"{line}; not seizures: {others}" if others else line


def _show_scores(scores: Scores) -> None:
    """Print the three kinds of score."""
    names = ("sensitivity", "precision", "f1", "false alarms in 24 h")
    rows = []
    for kind, values in scores.to_dict().items():
        told = (values[name] for name in ("sensitivity", "precision", "f1"))
        alarms = values["false_alarms_a_day"]
        rows.append((kind, *(f"{value:.3f}" for value in told), f"{alarms:,.1f}"))
    console.table({"score": "left"} | dict.fromkeys(names, "right"), rows)
    console.show()
