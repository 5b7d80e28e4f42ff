"""The groups of measurements; each has its own process, so that frameworks share no threads."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

import tcnzoo
from benchmarks import nets, tasks
from benchmarks.adapters import adapters_group
from benchmarks.big_files import big_files_group
from benchmarks.hsmm import hsmm_group
from benchmarks.labram import labram_group, labram_keras_group, labram_mlx_group
from benchmarks.mamba2 import mamba2_group
from benchmarks.nets import LONG, NETS, Net
from benchmarks.streams import CALLS, CHUNKS, blocks_only, streams_group
from benchmarks.timing import Result, interleaved
from benchmarks.training import training_group
from benchmarks.vq import vq_group
from tcnzoo.models.backend import installed_backends
from tcnzoo.zoo.catalog import preset

# `mx.conv1d` with dilation is about 200 times slower than it could be on a CPU: keep it short.
MLX_LENGTH = {"tcn-eeg-encoder": 320, "narrow [64]*8": 1024}
PRESET_LENGTH = {"tcn-eeg-encoder": 480, "tcn-eeg-encoder-rf12s": 480}


def measured(
    net: str,
    task: str,
    device: str | None,
    threads: int,
    contenders: dict[str, tasks.Call],
    *,
    budget: float,
    calls: int = 1,
    note: str = "",
) -> Result:
    """Time contenders and label the result."""
    seconds, ratio, rounds = interleaved(contenders, budget=budget, calls=calls)
    return Result(net, task, device or "cpu", seconds, ratio, rounds, threads, note)


def torch_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our torch backend beside pytorch-tcn."""
    import torch

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    for net in NETS.values():
        peer, model = nets.pytorch_tcn(net, device), nets.ours(net, "torch", device)
        x = tasks.signal(net.length)
        pair = {"pytorch-tcn": peer, "tcnzoo torch": model}
        calls = {name: tasks.torch_forward(one, x, device) for name, one in pair.items()}
        yield measured(
            net.name, "forward", device, threads, calls, budget=budget, note=f"{net.length} steps"
        )
        x = tasks.train_signal(net)
        calls = {name: tasks.torch_train(one, x, device) for name, one in pair.items()}
        note = f"{net.train_length} steps, SGD"
        yield measured(net.name, "training step", device, threads, calls, budget=budget, note=note)
    yield _long_training_step(device, threads, budget)


def _long_training_step(device: str | None, threads: int, budget: float) -> Result:
    """A training step of many samples, whose memory checkpointing saves; see `memory`."""
    net, x = NETS["narrow [64]*8"], tasks.signal(LONG)
    models = {
        "pytorch-tcn": nets.pytorch_tcn(net, device),
        "tcnzoo torch": nets.ours(net, "torch", device),
        "tcnzoo torch, checkpointing": nets.checkpointed(net, device),
    }
    calls = {name: tasks.torch_train(model, x, device) for name, model in models.items()}
    note = f"{LONG} steps, SGD"
    return measured(net.name, "training step", device, threads, calls, budget=budget, note=note)


def mlx_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our MLX backend beside a plain stack of `mx.conv1d`, which runs on the BLAS that ours loads.

    With TCNZOO_MLX_BLAS=0 that is MLX's own for both.
    """
    # Before the plain stack imports MLX.
    blas = import_module("tcnzoo.backends.mlx").current_blas().name
    for net in NETS.values():
        length = MLX_LENGTH[net.name] if device in (None, "cpu") else net.length
        x = tasks.signal(length)
        pair = {"plain mx.conv1d": nets.plain_mlx(net), "tcnzoo mlx": nets.ours(net, "mlx", device)}
        calls = {name: tasks.mlx_forward(one, x) for name, one in pair.items()}
        note = f"{length} steps, {blas}"
        yield measured(net.name, "forward", device, 0, calls, budget=budget, note=note)
        calls = {name: tasks.mlx_train(one, x) for name, one in pair.items()}
        note = f"{length} steps, SGD, {blas}"
        yield measured(net.name, "training step", device, 0, calls, budget=budget, note=note)
        if device in (None, "cpu"):
            yield from _mlx_streams(net, budget)


def _mlx_streams(net: Net, budget: float) -> Iterator[Result]:
    """One streaming step of the temporal blocks, beside one made as mlx-tcn makes it.

    mlx-tcn is on no package index; what stands for it keeps what each convolution has seen in a
    buffer, puts it before the chunk and calls `mx.conv1d`.
    """
    alone = blocks_only(net)
    peer, model = nets.buffered_mlx(alone), nets.ours(alone, "mlx", None)
    for chunk in CHUNKS[:2]:
        x = tasks.signal(chunk)
        calls = {
            "mlx-tcn's way": tasks.mlx_buffered_stream(peer, x),
            "tcnzoo mlx": tasks.our_stream(model, x),
        }
        task = f"stream, chunks of {chunk}"
        yield measured(
            net.name, task, None, 1, calls, budget=budget, calls=CALLS[chunk], note="blocks only"
        )


def keras_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our Keras backend beside keras-tcn, both without weight norm, which keras-tcn lacks."""
    for net in NETS.values():
        x = tasks.signal(net.length)
        pair = {
            "keras-tcn": nets.keras_tcn(net),
            "tcnzoo keras": nets.ours(net, "keras", device, norm=None),
        }
        calls = {name: tasks.keras_forward(one, x) for name, one in pair.items()}
        yield measured(
            net.name, "forward", device, 0, calls, budget=budget, note=f"{net.length} steps"
        )
        x = tasks.train_signal(net)
        calls = {name: tasks.keras_train(one, x) for name, one in pair.items()}
        note = f"{net.train_length} steps, SGD"
        yield measured(net.name, "training step", device, 0, calls, budget=budget, note=note)


def preset_group(device: str | None, budget: float) -> Iterator[Result]:
    """Every preset in every backend, from numpy to numpy: forward and streaming."""
    for name in tcnzoo.list_models():
        spec = tcnzoo.load_spec(name)
        x = _preset_signal(name)
        models = {f"tcnzoo {one}": tcnzoo.create(spec, one) for one in installed_backends()}
        models = {key: models[key] for key in sorted(models, key=lambda key: key != "tcnzoo torch")}
        calls: dict[str, Callable[[], Any]] = {
            key: tasks.our_forward(model, x) for key, model in models.items()
        }
        note = f"{x.shape[2]} steps"
        yield measured(name, "predict", device, 0, calls, budget=budget, note=note)
        if spec.streaming_blocker() is not None:
            continue
        for chunk in CHUNKS:
            part = x[:, :, :chunk]
            if part.shape[2] == chunk:
                calls = {key: tasks.our_stream(model, part) for key, model in models.items()}
                task = f"stream, chunks of {chunk}"
                yield measured(name, task, device, 0, calls, budget=budget / 2)


def _preset_signal(name: str) -> Any:
    """Noise of a preset's channels, shortened where MLX on a CPU would take minutes."""
    facts = preset(name).input
    length = PRESET_LENGTH.get(name, facts.length)
    return np.random.default_rng(0).standard_normal((1, facts.channels, length)).astype(np.float32)


GROUPS: dict[str, Callable[[str | None, float], Iterator[Result]]] = {
    "torch": torch_group,
    "streams": streams_group,
    "keras": keras_group,
    "mlx": mlx_group,
    "mlx-own-blas": mlx_group,
    "presets": preset_group,
    "big-files": big_files_group,
    "mamba2": mamba2_group,
    "hsmm": hsmm_group,
    "adapters": adapters_group,
    "labram": labram_group,
    "labram-mlx": labram_mlx_group,
    "labram-keras": labram_keras_group,
    "vq": vq_group,
    "training": training_group,
}
