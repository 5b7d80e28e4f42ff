"""Small whole files of every format, to be broken: one line in MAKERS makes a format known here.

A maker gets a folder and yields samples; each has a folder of its own inside. What a package is
needed for that is not installed, it leaves out by raising ImportError or BackendMissing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import tcnzoo
from tcnzoo.checkpoints.directory import (
    TENSORS,
    read_safetensors,
    write_checkpoint,
    write_safetensors,
)
from tcnzoo.formats.protocol import convert, format_modules
from tcnzoo.specs.params import varied_weights
from tcnzoo.weights_convert.braindecode.nets import NETS
from tcnzoo.weights_convert.seizure_transformer.spec import Sizes, graph_of
from tcnzoo.zoo.foreign.detectors import tcn_document
from tcnzoo.zoo.foreign.labram import (
    Encoder,
    classifier_document,
    mem_document,
    tokenizer_document,
)
from tests.fuzzing.input_samples import INPUTS
from tests.fuzzing.origins import deepepi_in_keras, deepepi_in_torch, graphs, keras_tcn
from tests.fuzzing.sample import Maker, Sample, container_of
from tests.support.mamba_files import stack

# Every kind of axes, and no two sizes of an array equal.
BODY = {
    "kind": "tcn", "in_channels": 3, "channels": [4, 5], "kernel_size": 2, "norm": "weight_norm",
    "dilations": [1, 2], "dropout": 0.2,
}  # fmt: skip
STACK = {
    "kind": "sequential",
    "layers": {
        "normed": {
            "kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 2,
            "weight_norm": True,
        },
        "norm": {"kind": "batch_norm", "channels": 5},
        "up": {"kind": "conv_transpose1d", "in_channels": 5, "out_channels": 4, "kernel_size": 3},
        "head": {"kind": "dense", "in_features": 4, "out_features": 2},
    },
}  # fmt: skip
CHAIN = {
    "kind": "sequential",
    "layers": {
        "conv": {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 2},
        "norm": {"kind": "batch_norm", "channels": 5},
        "act": {"kind": "activation", "name": "relu"},
        "pool": {"kind": "pool", "mode": "global_average"},
        "head": {"kind": "dense", "in_features": 5, "out_features": 2},
    },
}
MAMBA = {"kind": "mamba2", "channels": 4, "head_dim": 2, "d_state": 3}
MAMBAS = stack(layers=1)
DETECTOR = tcn_document(
    in_channels=3,
    channels=[4, 6],
    kernel_size=3,
    width=8,
    stride=4,
    mamba={"mamba": {"d_state": 5, "head_dim": 4}},
)
# A net of braindecode with batch norms and tensors of four axes. Those with a limit on norms have
# tensors that another limit in a damaged configuration changes.
SHALLOW = {
    "n_chans": 3, "n_outputs": 2, "n_times": 60, "n_filters_time": 4, "n_filters_spat": 5,
    "filter_time_length": 7, "pool_time_length": 20,
}  # fmt: skip
BDTCN = {"n_chans": 3, "n_outputs": 2, "n_filters": 4, "n_blocks": 2}
SEIZURES = graph_of(
    Sizes(3, (4, 6), (5, 3), (3, 2), (3, 5), layers=1, hidden=7, heads=2)
).model_dump(mode="json")
CODES = {"kind": "vector_quantizer", "channels": 3, "codes": 5}
LEVELS = {"kind": "residual_vq", "levels": 2, "quantizer": {"channels": 3, "codes": 4}}
LABRAM = Encoder(
    channels=8, depth=1, heads=2, hidden=6, patch=16, out_channels=4, kernel_size=3, rows=2,
    electrodes=("FP1", "CZ", "O2"),
)  # fmt: skip
LABRAM_DECODER = replace(LABRAM, qk_norm=False, layer_scale=None)
VQNSP = tokenizer_document(LABRAM, LABRAM_DECODER, codes=5, code_channels=3, bins=7)
TCN_HINTS = {
    "causal": True,
    "activation": "relu",
    "skip_connections": False,
    "output_activation": "none",
}


def written(
    format_name: str, document: Any, names: tuple[str, ...], dtype: Any = np.float32, **hints: Any
) -> Maker:
    """A maker of what `convert` writes under some names."""

    def make(folder: Path) -> Iterator[Sample]:
        start = folder / "start"
        spec = tcnzoo.load_spec(document)
        weights = varied_weights(spec.params())
        write_checkpoint(start, spec, {name: one.astype(dtype) for name, one in weights.items()})
        for number, name in enumerate(names):
            target = folder / f"{number}-{np.dtype(dtype).name}" / name
            target.parent.mkdir(parents=True)
            convert(start, target, to_format=format_name)
            yield Sample(format_name, target, container_of(target), hints)

    return make


def bare(format_name: str, maker: Maker, hints: Mapping[str, Any], *, nested: bool = True) -> Maker:
    """A maker of the same tensors without notes of ours, as a .pt or .safetensors has them."""

    def make(folder: Path) -> Iterator[Sample]:
        import torch

        from tcnzoo.weights_convert.containers.pt import arrays_of, write_pt

        for sample in maker(folder / "noted"):
            held = torch.load(sample.path, weights_only=True)
            held = held.get("state_dict", held)
            held = {name: one for name, one in held.items() if isinstance(one, torch.Tensor)}
            (folder / "pt").mkdir(parents=True)
            (folder / "safetensors").mkdir()
            write_pt(
                folder / "pt" / "net.pth", {"state_dict": held, "epoch": 3} if nested else held
            )
            tensors = arrays_of(sample.path, held)
            write_safetensors(folder / "safetensors" / "net.safetensors", tensors)
            for path in (folder / "pt" / "net.pth", folder / "safetensors" / "net.safetensors"):
                yield Sample(format_name, path, container_of(path), hints)

    return make


def of_braindecode(name: str, arguments: Mapping[str, Any]) -> Maker:
    """A maker of the hub folder of a net."""
    plan = NETS[name].plan_of({**NETS[name].defaults, **arguments})
    return written("braindecode", plan.chain(), ("net",))


def without_configuration(maker: Maker) -> Maker:
    """A maker of the state_dicts in hub folders of braindecode."""

    def make(folder: Path) -> Iterator[Sample]:
        from tcnzoo.weights_convert.containers.pt import state_dict_of, write_pt

        for number, sample in enumerate(maker(folder / "hub")):
            tensors, _ = read_safetensors(sample.path / TENSORS)
            path = folder / str(number) / "net.pt"
            path.parent.mkdir()
            write_pt(path, state_dict_of(tensors))
            yield Sample(sample.format, path, container_of(path))

    return make


def several(*makers: Maker) -> Maker:
    """A maker of what several make."""

    def make(folder: Path) -> Iterator[Sample]:
        for number, maker in enumerate(makers):
            yield from maker(folder / str(number))

    return make


def directories(folder: Path) -> Iterator[Sample]:
    """A checkpoint directory of one file, and one of shards."""
    spec = tcnzoo.load_spec(STACK)
    weights = varied_weights(spec.params())
    for number, size in enumerate(("1MB", 120)):
        path = folder / str(number) / "net"
        write_checkpoint(path, spec, weights, max_shard_size=size)
        yield Sample("tcnzoo", path, "directory")


def unlabelled_arrays(format_name: str, document: Any, hints: Mapping[str, Any]) -> Maker:
    """A maker of a .npz as numpy writes it, without notes of ours."""

    def make(folder: Path) -> Iterator[Sample]:
        for sample in written(format_name, document, ("net.npz",))(folder / "noted"):
            path = folder / "plain" / "net.npz"
            path.parent.mkdir()
            with np.load(sample.path) as held:
                np.savez(path, **held)
            yield Sample(format_name, path, "npz", hints)

    return make


MAKERS: dict[str, Maker] = {
    "tcnzoo": directories,
    "torch": several(
        written("torch", STACK, ("net.pt", "net.safetensors")),
        written("torch", CHAIN, ("net.pt",), ml_dtypes.bfloat16),
        bare("torch", written("torch", CHAIN, ("net.pt",)), {"spec": CHAIN}, nested=False),
    ),
    "mlx": several(
        written("mlx", STACK, ("net.npz", "net.safetensors")),
        written("mlx", CHAIN, ("net.npz",), ml_dtypes.bfloat16),
        unlabelled_arrays("mlx", CHAIN, {"spec": CHAIN}),
    ),
    "keras": several(
        written("keras", STACK, ("net.keras", "net.weights.h5")),
        written("keras", CHAIN, ("net.weights.h5",), ml_dtypes.bfloat16),
    ),
    "pytorch-tcn": several(
        written("pytorch-tcn", BODY, ("net.pt",)),
        bare("pytorch-tcn", written("pytorch-tcn", BODY, ("net.pt",)), TCN_HINTS),
    ),
    "osd-torch": deepepi_in_torch,
    "torch-sequential": several(
        written("torch-sequential", CHAIN, ("net.pt", "net.safetensors"), spec=CHAIN),
        bare("torch-sequential", written("torch-sequential", CHAIN, ("net.pt",)), {"spec": CHAIN}),
    ),
    "locuslab-tcn": several(
        written("locuslab-tcn", BODY, ("net.pt",)),
        bare("locuslab-tcn", written("locuslab-tcn", BODY, ("net.pt",)), {}),
    ),
    "mlx-tcn": several(
        written("mlx-tcn", BODY, ("net.npz", "net.safetensors")),
        unlabelled_arrays("mlx-tcn", BODY, TCN_HINTS),
    ),
    "keras-sequential": several(
        written("keras-sequential", CHAIN, ("net.keras", "net.h5")),
        written("keras-sequential", CHAIN, ("net.weights.h5",), spec=CHAIN),
    ),
    "osd-keras": deepepi_in_keras,
    "keras-tcn": keras_tcn,
    "onnx": several(written("onnx", CHAIN, ("net.onnx",)), graphs),
    "mamba-ssm": several(
        written("mamba-ssm", MAMBA, ("net.pt", "net.safetensors")),
        bare("mamba-ssm", written("mamba-ssm", MAMBA, ("net.pt",)), {"groups": 1}),
    ),
    "transformers-mamba2": written("transformers-mamba2", MAMBAS, ("net",)),
    "brain-go-brr": written("brain-go-brr", DETECTOR, ("net.pt",)),
    "seizure-transformer": several(
        written("seizure-transformer", SEIZURES, ("net.pt", "net.safetensors"), heads=2),
        bare(
            "seizure-transformer",
            written("seizure-transformer", SEIZURES, ("net.pt",)),
            {"heads": 2},
        ),
    ),
    "braindecode": several(
        of_braindecode("ShallowFBCSPNet", SHALLOW),
        without_configuration(of_braindecode("BDTCN", BDTCN)),
    ),
    "labram": several(
        written("labram", classifier_document(LABRAM, 2), ("net.pth", "net.safetensors")),
        bare("labram", written("labram", mem_document(LABRAM, 5), ("net.pth",)), {}),
    ),
    "labram-vqnsp": several(
        written("labram-vqnsp", VQNSP, ("net.pth",)),
        bare("labram-vqnsp", written("labram-vqnsp", VQNSP, ("net.pth",)), {"heads": 2}),
    ),
    "vector-quantize-pytorch": several(
        written("vector-quantize-pytorch", CODES, ("net.pt",)),
        bare(
            "vector-quantize-pytorch",
            written("vector-quantize-pytorch", LEVELS, ("net.pt",)),
            {"shared": False},
        ),
    ),
}


def make_samples(format_name: str, folder: Path) -> list[Sample]:
    """Samples of a format.

    Raises:
        LookupError: nobody says how to make one.
        BackendMissing, ImportError: a package that making them needs is not installed.
    """
    makers = MAKERS | INPUTS
    if format_name not in makers:
        raise LookupError(f"tests/fuzzing/makers.py has no sample of format {format_name!r}")
    return list(makers[format_name](folder / format_name))


def known_formats() -> list[str]:
    """Names of all formats of weights that there are, and of all kinds of other files."""
    return [*format_modules(), *INPUTS]
