"""Run torch models on neutral arrays: predict, stream, differentiate, trace."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.errors import InputError
from tcnzoo.models.backend import Handle
from tcnzoo.models.outputs import Output, Quantized, Trace, first, named_outputs
from tcnzoo.models.streaming import LazyState, State, Stream
from tcnzoo.specs import StateItem

from .block import Block
from .kernels import compiled
from .kernels.one_step import Window
from .options import tf32
from .quantizer import Quantizer
from .twin import Moment, twin_of
from .weights import get_weights, to_torch


def full_precision(
    model: Block[Any] | None = None,
) -> contextlib.AbstractContextManager[None]:
    """Keep TF32 off on CUDA for a while, whatever the flags say, unless the model asks for it."""
    if not torch.cuda.is_available():
        return contextlib.nullcontext()
    return tf32(model is not None and model.options.tf32)


# The parameters of the first part that has some: it is looked for once.
_FIRST: WeakKeyDictionary[Block[Any], dict[str, Any]] = WeakKeyDictionary()


def placement(model: Block[Any]) -> tuple[torch.dtype, torch.device]:
    """Float type and device of a model's parameters (of its Handle, where it has none)."""
    for tensor in _FIRST.get(model, {}).values():
        if tensor is not None:
            return tensor.dtype, tensor.device
    for part in model.modules():
        for tensor in part._parameters.values():
            if tensor is not None:
                _FIRST[model] = part._parameters
                return tensor.dtype, tensor.device
    handle: Handle = model.tcnzoo
    return getattr(torch, handle.dtype), torch.device(handle.device or "cpu")


def dtype_of(model: Block[Any]) -> str:
    """Float type of a model's parameters."""
    return str(placement(model)[0]).removeprefix("torch.")


def _tensor(array: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A copy of an array of any framework as a tensor; integers stay integers, on the CPU.

    A tensor that is as it should be is not copied.
    """
    if isinstance(array, Tensor):
        tensor = array
        if tensor.dtype == dtype and tensor.device == device:
            return tensor
    elif (array := to_numpy(array)).dtype == ml_dtypes.bfloat16:
        tensor = to_torch(array)
    else:
        tensor = torch.from_numpy(np.array(array, order="C"))
    if not tensor.is_floating_point():
        return tensor.cpu()
    return tensor.to(device=device, dtype=dtype)


@contextlib.contextmanager
def _evaluating(model: Block[Any]) -> Iterator[Any]:
    """The model in evaluation mode (itself, or a twin while it is in training), without gradients.

    Raises:
        InputError: another thread trained the model inside.
    """
    turns = model.turns
    moment = Moment(model) if model.training else None
    with torch.inference_mode(), full_precision(model):
        yield model if moment is None else twin_of(model, training=False)
    # The mode of a model changes before that of its parts, and may be back by now.
    trained = model.training or model.turns != turns or turns % 2
    if trained if moment is None else moment.has_passed():
        raise InputError(
            "the model was trained by another thread during this call, so its output would mix old "
            "and new weights; predict between training steps, or with a copy of the model"
        )


def predict(model: Block[Any], x: Array, embeddings: Sequence[Array]) -> Output:
    """Run in evaluation mode."""
    dtype, device = placement(model)
    signal = _tensor(x, dtype, device)
    with _evaluating(model) as ready:
        rest = [_tensor(embedding, dtype, device) for embedding in embeddings]
        y = ready(signal, None, rest) if rest else ready(signal)
    y = named_outputs(y)
    if isinstance(y, dict):
        return {name: to_numpy(output) for name, output in y.items()}
    return to_numpy(y)


def quantize(model: Quantizer[Any], x: Array, mask: Array | None) -> Quantized:
    """Run a quantiser in evaluation mode."""
    signal = _tensor(x, *placement(model))
    with _evaluating(model) as ready:
        quantized = ready.quantize(signal, None if mask is None else torch.from_numpy(mask))
    return Quantized(*map(to_numpy, quantized))


class TorchState(LazyState):
    """A state of this backend, of which some entries are windows of a log."""

    def __init__(
        self,
        table: Mapping[str, StateItem],
        batch_size: int,
        held: dict[str, Any],
        placed: tuple[torch.dtype, torch.device],
    ) -> None:
        """Hold entries that are tensors of one float type on one device."""
        super().__init__(table, batch_size, held)
        self.placement = placed


def init_state(model: Block[Any], state: Mapping[str, Any]) -> State:
    """Turn a neutral state into tensors on the model's device, in the types they are kept in."""
    steps = compiled.steps_for(model)
    if steps is None:
        return _tensors(model, state)
    batch = next((len(array) for array in state.values() if array.ndim), 1)
    start = steps.start(state, batch, partial(get_weights, model))
    return _tensors(model, state) if start is state else start


def _tensors(model: Block[Any], state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The entries of a state as tensors of the types and on the device of the model."""
    dtype, device = placement(model)
    table, wide = model.tcnzoo.state, torch.promote_types(dtype, torch.float32)
    return {
        name: _tensor(array, wide if table[name].summed else dtype, device)
        for name, array in state.items()
    }


def step(
    model: Block[Any], chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, State]:
    """Run one streaming step, with the model's parts or the compiled engine."""
    plain = partial(_plain_step, model)
    steps = compiled.steps_for(model)
    if steps is None:
        return plain(chunk, state, embeddings)
    return steps.step(plain, partial(get_weights, model), chunk, state, embeddings)


def _plain_step(
    model: Block[Any], chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
) -> tuple[Array, State]:
    """One step with the model's parts."""
    dtype, device = placed = placement(model)
    alone = compiled.one_thread() if device.type == "cpu" else contextlib.nullcontext()
    with alone, _evaluating(model) as ready:
        if not isinstance(state, TorchState) or state.placement != placed:
            state = _tensors(model, state)
        stream = Stream(state)
        signal = _tensor(chunk, dtype, device)
        rest = [_tensor(embedding, dtype, device) for embedding in embeddings]
        y = ready(signal, stream, rest) if rest else ready(signal, stream)
    output = to_numpy(first(y))
    if any(isinstance(value, Window) for value in stream.next_state.values()):
        return output, TorchState(model.tcnzoo.state, len(chunk), stream.next_state, placed)
    return output, stream.next_state


def gradients(
    model: Block[Any],
    x: Array,
    target: Any,
    loss: str | Mapping[str, str],
    embeddings: Sequence[Array],
    training: bool,
) -> tuple[float, Weights]:
    """Loss and its gradients for every trained parameter and for `input`."""
    from . import losses  # which imports what else only training needs

    dtype, device = placement(model)
    inputs = _tensor(x, dtype, device).requires_grad_()
    ready = twin_of(model, training)
    with full_precision(ready):
        rest = [_tensor(embedding, dtype, device) for embedding in embeddings]
        y = ready(inputs, None, rest) if rest else ready(inputs)
        chosen = losses.by_kind(loss)
        targets = {loss: target} if isinstance(loss, str) else target
        wanted = {
            f"target.{name}": to_torch(targets[name]).to(device)
            for name in chosen
            if targets.get(name) is not None
        }
        value, _ = losses.total(chosen, y, wanted)
        named = dict(ready.named_parameters())
        slopes = torch.autograd.grad(
            value, [*named.values(), inputs], allow_unused=True, materialize_grads=True
        )
    table = {name: to_numpy(slope) for name, slope in zip([*named, "input"], slopes, strict=True)}
    return float(value.detach()), table


def trace(model: Block[Any], x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run in evaluation mode; return every part's output by dotted path, in order."""
    trace = Trace(to_numpy)
    with _evaluating(model) as ready:
        observed = twin_of(ready, training=False, own_hooks=True)
        for path, part in observed.walk():
            part.register_forward_hook(lambda _, inputs, y, path=path: trace(path, y))
        predict(observed, x, embeddings)
    return trace.outputs


def activation_bytes(model: Block[Any], x: Array) -> int:
    """Bytes that a forward pass in training keeps for the backward pass.

    Counted are distinct storages that autograd saves, the model's own parameters left out.
    """
    own = {
        tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())
    }
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in own:
            kept[address] = tensor  # held, so that no other storage gets this address
        return tensor

    signal = _tensor(x, *placement(model))
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    ready = twin_of(model, training=True)
    try:
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, full_precision(ready):
            ready(signal)
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(statistics[name])
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def device_peak(model: Block[Any]) -> int | None:
    """Largest amount of memory that CUDA tensors have taken, in bytes; None on another device."""
    device = placement(model)[1]
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
