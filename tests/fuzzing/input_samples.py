"""Whole files that hold no weights, to be broken; each is read in every way of its kind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzzing.sample import Maker, Sample
from tests.support import edf_files
from tests.support.edf_files import annotations, electrodes, stamps, tal
from tests.support.osd_files import event, write_csv, write_json

SPECS = {
    "a.yaml": """\
kind: tcn
in_channels: 3
channels: [4, 5]
kernel_size: 2
dilations: [1, 2]
norm: batch_norm
activation: {kind: activation, name: leaky_relu, slope: 0.1}
dropout: 0.2
""",
    "b.yaml": """\
base: &base {kind: conv1d, kernel_size: 3, bias: false}
spec:
  kind: sequential
  layers:
    first: {<<: *base, in_channels: 3, out_channels: 4}
    act: &act {kind: activation, name: relu}
    second:
      <<: *base
      in_channels: 4
      out_channels: 5
    again: *act
    mixer: {kind: mamba2, channels: 5, head_dim: 5, d_state: 3}
""",
    "c.yaml": """\
model: {architecture: tcn, tcn: {num_layers: 2, kernel_size: 3, dropout: 0.1, stride_down: 4}}
""",
    "d.json": json.dumps(
        {
            "spec": {
                "kind": "sequential",
                "layers": {
                    "conv": {
                        "kind": "conv1d",
                        "in_channels": 3,
                        "out_channels": 5,
                        "kernel_size": 2,
                    },
                    "pool": {"kind": "pool", "mode": "global_average"},
                    "head": {"kind": "dense", "in_features": 5, "out_features": 2},
                },
            }
        },
        indent=1,
    ),
    "nnConfig.json": json.dumps(
        {
            "modelConfig": {
                "modelClass": "deepEpiCnnModel.DeepEpiCnnModel",
                "framework": "pytorch",
                "sampleFreq": 25,
                "bufferSeconds": 30,
                "convDropout": 0.1,
                "nLayers": 14,
            },
            "dataProcessing": {"seed": 4},
        },
        indent=1,
    ),
}
EVENTS = {
    "events.tsv": "\n".join(
        "\t".join(line)
        for line in (
            (
                "onset",
                "duration",
                "eventType",
                "confidence",
                "channels",
                "dateTime",
                "recordingDuration",
            ),
            ("1.5", "3", "sz_foc_ia", "0.5", "Cz", "2024-01-01 10:00:00", "60"),
            ("0", "n/a", "impd", "n/a", "n/a", "2024-01-01 10:00:00", "60"),
            ("-2", "5.25", "sz", "n/a", "n/a", "2024-01-01 10:00:00", "60"),
        )
    )
    + "\n",
    "bids.tsv": "duration\tonset\ttrial_type\tvalue\n2\t1\tseizure\t1\n0.5\tn/a\tchew\t2\n",
    "a.csv_bi": """\
# version = csv_v1.0.0
# bname = a
# duration = 60.0000 secs
# montage_file = nedc_eas_default_montage.txt
#
channel,start_time,stop_time,label,confidence
TERM,0.0000,10.5000,bckg,1.0000
FP1-F7,10.5000,20.2500,seiz,0.7500
TERM,30.0000,40.0000,eyem,1.0000
""",
    "a.csv": "channel,start_time,stop_time,label,confidence\nTERM,1.0,2.0,fnsz,1.0\n",
    "a.json": json.dumps(
        {
            "recording": "a",
            "duration": 60.0,
            "start": "2024-01-01T10:00:00+00:00",
            "events": [
                {"start": 1.0, "stop": 2.5, "confidence": 0.5, "label": "sz", "channel": None},
                {"start": 5, "stop": 6, "label": "impd"},
                {"start": 8, "stop": 9},
            ],
            "num_events": 3,
        },
        indent=1,
    ),
}
SIGNALS = {
    "a.csv": "left,right\n" + "".join(f"{place},{place / 8}\n" for place in range(30)),
    "b.csv": "a;b;c\n" + "".join(f"{place},5;{place};-1e-3\n" for place in range(30)),
    "c.csv": "".join(f"{place},0.5,2\n" for place in range(30)),
}


def texts(kind: str, found: dict[str, str]) -> Maker:
    """A maker of files of text; what breaks them follows from their name and kind."""

    def make(folder: Path) -> Iterator[Sample]:
        for name, text in found.items():
            path = _place(folder, name)
            path.write_text(text, "utf-8")
            languages = {"json": "json", "yaml": "yaml"}
            yield Sample(kind, path, languages.get(path.suffix[1:], "table"))

    return make


def _place(folder: Path, name: str) -> Path:
    """A path in a folder of its own."""
    path = folder / name.replace(".", "-") / name
    path.parent.mkdir(parents=True)
    return path


def recordings(folder: Path) -> Iterator[Sample]:
    """EDF and BDF, with time stamps and without."""
    x = edf_files.signal(10, 16)
    rows = electrodes(x, 16, form="EEG {}-REF")
    marks = [one + tal(2, b"sz", 3) for one in stamps(range(10))]
    kinds: dict[str, tuple[list[Any], str]] = {
        "a.edf": (rows, ""),
        "b.edf": ([*rows, annotations(marks, 60)], "EDF+C"),
        "c.bdf": ([*rows, annotations(stamps(range(10)), 60)], "BDF+D"),
    }
    for name, (signals, kind) in kinds.items():
        yield Sample("edf", edf_files.write(_place(folder, name), signals, kind=kind), "edf")


def accelerometer(folder: Path) -> Iterator[Sample]:
    """OSDB's JSON, an event a line, and flattenData's CSV."""
    seizure = event(4, seizureTimes=[5, 12])
    events = [seizure, event(3, id=2, userId=8, type="NDA", sampleFreq=25)]
    path = _place(folder, "a.json")
    write_json(path, *events)
    yield Sample("osd", path, "osd")
    path = _place(folder, "b.ndjson")
    path.write_text("\n".join(map(json.dumps, events)) + "\n", "utf-8")
    yield Sample("osd", path, "osd")
    path = _place(folder, "c.csv")
    write_csv(path, *events)
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    yield Sample("osd", path, "table")


INPUTS: dict[str, Maker] = {
    "spec": texts("spec", SPECS),
    "events": texts("events", EVENTS),
    "edf": recordings,
    "osd": accelerometer,
    "csv": texts("csv", SIGNALS),
}
