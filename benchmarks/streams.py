"""Steps of streams on one thread: one stream beside pytorch-tcn, many at once, and as a C file."""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tcnzoo
from benchmarks import nets, tasks
from benchmarks.nets import NETS, Net
from benchmarks.timing import Result, interleaved
from tcnzoo.engines import ENGINE, PLAIN
from tcnzoo.errors import TcnzooError

CHUNKS = (1, 16, 256)
# A chunk of one sample takes microseconds, so a round calls it often.
CALLS = {1: 20, 16: 8, 256: 2}
STREAMS = 64
COMPILE = ("gcc", "-O3", "-march=native", "-std=c99", "-shared", "-fPIC")
# Presets that people stream on one sample at a time.
SINGLE = ("tcn-se-gated",)


def blocks_only(net: Net) -> Net:
    """The temporal blocks of a net: pytorch-tcn streams those only."""
    return Net(net.name, net.channels, net.dilations, False, net.length, net.train_length)


def streams_group(device: str | None, budget: float) -> Iterator[Result]:
    """All lines on streams; on the CPU only."""
    if device is not None:
        return
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    for net in NETS.values():
        yield from _one_stream(blocks_only(net), budget)
    narrow = blocks_only(NETS["narrow [64]*8"])
    yield from _many_streams(narrow, budget)
    for name in SINGLE:
        yield _preset_step(name, budget)
    yield from _c_file(narrow, budget)


def _one_stream(net: Net, budget: float) -> Iterator[Result]:
    """One stream, in chunks of 1, 16 and 256 samples."""
    peer, model = nets.pytorch_tcn(net, None), nets.ours(net, "torch", None)
    for chunk in CHUNKS:
        x = tasks.signal(chunk)
        calls = {
            "pytorch-tcn": tasks.torch_library_stream(peer, x),
            "tcnzoo torch": tasks.our_stream(model, x),
        }
        yield _timed(net.name, f"stream, chunks of {chunk}", calls, budget, CALLS[chunk])


def _many_streams(net: Net, budget: float) -> Iterator[Result]:
    """64 streams side by side, beside torch's own operations."""
    model, twin = (nets.ours(net, "torch", None) for _ in range(2))
    for chunk in CHUNKS[:2]:
        x = tasks.signal(chunk, batch=STREAMS)
        calls = {"torch, plain": plain(twin, x), "tcnzoo torch": tasks.our_stream(model, x)}
        yield _timed(net.name, f"{STREAMS} streams, chunks of {chunk}", calls, budget, 2)


def _preset_step(name: str, budget: float) -> Result:
    """One sample of a preset, beside torch's own operations."""
    model, twin = (tcnzoo.create(name, "torch") for _ in range(2))
    x = np.random.default_rng(0).standard_normal((1, model.tcnzoo.spec.input_channels, 1))
    x = x.astype(np.float32)
    calls = {"torch, plain": plain(twin, x), "tcnzoo torch": tasks.our_stream(model, x)}
    return _timed(name, "stream, chunks of 1", calls, budget, CALLS[1], note="")


def plain(model: Any, x: Any) -> tasks.Call:
    """A streaming step by the framework's own operations."""
    with _only_plain():
        run = tasks.our_stream(model, x)

    def step() -> object:
        with _only_plain():
            return run()

    return step


@contextmanager
def _only_plain() -> Iterator[None]:
    """Turn the choice of engines off in the block."""
    before = os.environ.get(ENGINE)
    os.environ[ENGINE] = PLAIN
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENGINE]
        else:
            os.environ[ENGINE] = before


def _c_file(net: Net, budget: float) -> Iterator[Result]:
    """One sample by the C file, compiled by gcc; left out where one of the two is missing."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            step = c_step(net, Path(folder), tasks.signal(1))
        except (OSError, subprocess.CalledProcessError, TcnzooError) as error:
            print(f"streams: the C file is left out: {error}", file=sys.stderr)
            return
        peer = nets.pytorch_tcn(net, None)
        calls = {
            "pytorch-tcn": tasks.torch_library_stream(peer, tasks.signal(1)),
            "C file": step,
        }
        note = "blocks only, gcc -O3 -march=native"
        yield _timed(net.name, "stream, chunks of 1", calls, budget, CALLS[1], note)


def c_step(net: Net, folder: Path, x: Any) -> tasks.Call:
    """Export a net to C, compile it, and step it through ctypes."""
    source, library = folder / "net.c", folder / "net.so"
    tcnzoo.export(nets.ours(net, "numpy", None), source)
    subprocess.run([*COMPILE, str(source), "-o", str(library), "-lm"], check=True)
    header = source.with_suffix(".h").read_text("utf-8")
    sizes = re.search(r'"ram": (\d+)', header)
    if sizes is None:
        raise OSError("the header of the C file does not say how large the state is")
    state = ctypes.create_string_buffer(int(sizes[1]))
    code = ctypes.CDLL(str(library))
    code.net_reset(state)
    sample = np.ascontiguousarray(x[0, :, 0])
    output = np.empty(net.channels[-1], np.float32)
    given, taken = (array.ctypes.data_as(ctypes.c_void_p) for array in (sample, output))
    return lambda: code.net_step(state, given, taken)


def _timed(
    net: str,
    task: str,
    contenders: dict[str, tasks.Call],
    budget: float,
    calls: int,
    note: str = "blocks only",
) -> Result:
    """Time contenders on one thread."""
    seconds, ratio, rounds = interleaved(contenders, budget=budget, calls=calls)
    return Result(net, task, "cpu", seconds, ratio, rounds, 1, note)
