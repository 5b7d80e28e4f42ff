"""Checkpoint files for the tests: a model with every kind of tensor, in every format of ours."""

import zipfile

import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import WeightError
from tcnzoo.formats.protocol import convert
from tests.support.compare import weights_of

# Every kind of axes, no two sizes of an array equal.
SPEC = tcnzoo.load_spec(
    {
        "kind": "sequential",
        "layers": {
            "body": {
                "kind": "tcn", "in_channels": 3, "channels": [4, 5], "kernel_size": 2,
                "norm": "batch_norm", "gate": True, "skip_connections": True,
                "squeeze_excitation": {"reduction": 2, "pool": "cumulative"},
            },
            "normed": {
                "kind": "conv1d", "in_channels": 5, "out_channels": 7, "kernel_size": 3,
                "weight_norm": True,
            },
            "up": {
                "kind": "conv_transpose1d", "in_channels": 7, "out_channels": 6,
                "kernel_size": 4, "stride": 2, "weight_norm": True,
            },
            "plain": {
                "kind": "conv_transpose1d", "in_channels": 6, "out_channels": 5, "kernel_size": 2,
            },
            "head": {"kind": "dense", "in_features": 5, "out_features": 2},
        },
    }
)  # fmt: skip

# Destination, and the format where its ending leaves a choice.
FILES = [
    ("directory", None),
    ("file.pt", None),
    ("file.safetensors", "torch"),
    ("file.safetensors", "mlx"),
    ("file.npz", None),
    ("file.keras", None),
    ("file.weights.h5", None),
]

# A small model, and a file of each kind to break.
SMALL = tcnzoo.load_spec({"kind": "dense", "in_features": 3, "out_features": 2})
SMALL_FILES = {
    "file.pt": "torch",
    "torch.safetensors": "torch",
    "mlx.safetensors": "mlx",
    "file.npz": "mlx",
    "file.keras": "keras",
    "file.weights.h5": "keras",
}


def held_in(path, tmp_path):
    """Spec and weights of a file of any format, by way of a checkpoint directory."""
    convert(path, tmp_path / "held")
    return read_checkpoint(tmp_path / "held")


def shards_of(folder):
    """Names of all files of tensors, sorted."""
    return sorted(path.name for path in folder.glob("[!.]*.safetensors*"))


def write_small(folder):
    """Write the small model to every kind of file in a folder; return the folder."""
    write_checkpoint(folder / "start", SMALL, weights_of(SMALL))
    for name, to_format in SMALL_FILES.items():
        convert(folder / "start", folder / name, to_format=to_format)
    return folder


def refusal(path, from_format=None, kind=WeightError):
    """The sentence with which a file is refused; nothing may be left of the attempt."""
    target = path.parent / "target"
    with pytest.raises(kind) as raised:
        convert(path, target, from_format=from_format, hints={})
    assert not target.exists()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def rewritten(path, change):
    """Write an archive anew after a change to its {name: bytes}."""
    with zipfile.ZipFile(path) as opened:
        held, comment = {name: opened.read(name) for name in opened.namelist()}, opened.comment
    change(held)
    with zipfile.ZipFile(path, "w") as opened:
        opened.comment = comment
        for name, data in held.items():
            opened.writestr(name, data)
    return path
