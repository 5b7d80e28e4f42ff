"""Running a written file with onnxruntime."""

import functools
import json
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.models.outputs import Output

# Steps of the chunks that a stream is cut into, in turn.
CHUNKS = (1, 7, 2, 16, 3)
INTEGERS: dict[str, Any] = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}


def run(path: Path, x: Array, embeddings: Sequence[Array], streaming: bool) -> Output:
    """Run a file on neutral inputs; return the neutral output, float32."""
    info = path.stat()
    session = _session(str(path), info.st_mtime_ns, info.st_size)
    names = (name for name in _names(session.get_inputs()) if not name.startswith("state."))
    feeds = dict(zip(names, (x, *embeddings), strict=True))
    if streaming:
        return _stream(session, feeds)
    outputs = dict(zip(_names(session.get_outputs()), _call(session, feeds), strict=True))
    devices = "devices" in session.get_modelmeta().custom_metadata_map
    neutral = {name: _neutral(array, devices) for name, array in outputs.items()}
    if list(neutral) == ["y"]:
        return neutral["y"]
    return {name.removeprefix("y."): array for name, array in neutral.items()}


@functools.lru_cache(maxsize=1)
def _session(path: str, changed: int, size: int) -> Any:
    """Open a file; the last one is kept for as long as it stays the same."""
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _names(ports: Sequence[Any]) -> list[str]:
    """Names of inputs or outputs."""
    return [port.name for port in ports]


def _call(session: Any, feeds: dict[str, Array]) -> list[Array]:
    """Run once, each input in the type and rank that the graph has."""
    ready = {}
    for port in session.get_inputs():
        array = np.asarray(feeds[port.name])
        if port.type in ("tensor(float)", "tensor(float16)"):
            array = array.astype(np.float16 if "16" in port.type else np.float32)
        ready[port.name] = array[:, :, None] if len(port.shape) == array.ndim + 1 else array
    return list(session.run(None, ready))


def _neutral(array: Array, devices: bool) -> Array:
    """An output as float32 (batch, channels[, devices], time) or (batch, channels)."""
    array = array.astype(np.float32)
    return array[:, :, 0] if array.ndim == 4 and not devices else array


def start(session: Any, batch: int) -> dict[str, Array]:
    """State before the first chunk, as the file's metadata says it."""
    starts = json.loads(session.get_modelmeta().custom_metadata_map["state"])
    state = {}
    for port in session.get_inputs():
        if port.name in starts:
            shape = (batch, *port.shape[1:]) if port.shape else ()
            dtype = INTEGERS.get(port.type, np.float32)
            state[port.name] = np.full(shape, starts[port.name], dtype)
    return state


def _stream(session: Any, feeds: dict[str, Array]) -> Array:
    """Feed a signal in ragged chunks, or in those that a graph of one shape takes."""
    x = feeds["x"]
    fixed = next(port for port in session.get_inputs() if port.name == "x").shape[2]
    sizes, start_step, pieces = cycle([fixed] if isinstance(fixed, int) else CHUNKS), 0, []
    state = start(session, len(x))
    while start_step < x.shape[2]:
        span = slice(start_step, start_step + next(sizes))
        chunk = {
            name: array[..., span] if array.ndim == 3 or name.startswith("mask.") else array
            for name, array in feeds.items()
        }
        piece, *after = _call(session, chunk | state)
        state = dict(zip(state, after, strict=True))
        pieces.append(piece.astype(np.float32))
        start_step = span.stop
    return np.concatenate(pieces, axis=-1)
