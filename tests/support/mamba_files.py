"""Mamba-2 specs and files of them for the tests, made without transformers."""

import tcnzoo
from tcnzoo.checkpoints.directory import write_checkpoint
from tcnzoo.formats.protocol import convert
from tests.support.compare import weights_of

MAMBA = {"kind": "mamba2", "channels": 6, "expand": 2, "head_dim": 3, "d_state": 5}


def spec_of(**fields):
    return tcnzoo.load_spec({**MAMBA, **fields})


def stack(layers=2, final=True, **fields):
    """A stack as it is read from transformers."""
    nodes, last = {}, "input"
    for place in range(1, layers + 1):
        norm = {"kind": "rms_norm", "channels": 6}
        nodes[f"norm{place}"] = {"layer": norm, "inputs": [last]}
        nodes[f"mamba{place}"] = {"layer": {**MAMBA, **fields}, "inputs": [f"norm{place}"]}
        added = {"kind": "merge", "mode": "add"}
        nodes[f"sum{place}"] = {"layer": added, "inputs": [last, f"mamba{place}"]}
        last = f"sum{place}"
    if final:
        nodes["norm"] = {"layer": {"kind": "rms_norm", "channels": 6}, "inputs": [last]}
    return tcnzoo.load_spec({"kind": "graph", "in_channels": 6, "nodes": nodes})


def written(folder, spec, to_format, name="theirs"):
    """Write weights of a spec in a format; return the path."""
    write_checkpoint(folder / "start", spec, weights_of(spec))
    report = convert(folder / "start", folder / name, to_format=to_format)
    assert not report.left_out
    return folder / name
