"""Convolutions: Keras's own where it has them, else one matrix product of all taps."""

from functools import partial
from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream, strided_steps
from tcnzoo.specs import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec

from .block import Block, Tensor, maybe
from .types import multiplied, reduced, wide


def kernel(block: Block[Conv1dSpec] | Block[ConvTranspose1dSpec]) -> Tensor:
    """The effective kernel: `weight`, or g * v / ||v|| with the norm over every axis but O."""
    if not block.spec.weight_norm:
        return block.arrays["weight"]
    out = 1 if block.spec.kind == "conv_transpose1d" else 2
    over = tuple(axis for axis in range(3) if axis != out)

    def normed(direction: Tensor, gain: Tensor) -> Tensor:
        squares = ops.sum(ops.square(direction), axis=over, keepdims=True)
        return direction * (gain * ops.rsqrt(squares))

    direction = ops.convert_to_tensor(block.arrays["weight_v"])
    return reduced(normed, direction, block.arrays["weight_g"])


def pads_of(spec: Any, length: Any) -> tuple[Any, Any]:
    """Steps that a window adds left and right: `spec.pads`, also of a length not known yet."""
    if isinstance(length, int) or spec.padding != "same_upper":
        pads: tuple[int, int] = spec.pads(length)
        return pads
    stride = spec.step if spec.kind == "window_pool" else spec.stride
    last = (length - 1) // stride * stride
    total = ops.maximum(0, last + spec.reach + 1 - length)
    return total // 2, total - total // 2


def padded(x: Tensor, pads: tuple[int, int], mode: str) -> Tensor:
    """Add steps before and after a signal (batch, time, channels), as torch's four modes do."""
    left, right = pads
    if all(isinstance(steps, int) and steps == 0 for steps in pads):
        return x
    if mode == "zeros":
        return ops.pad(x, ((0, 0), (left, right), (0, 0)))
    length = ops.shape(x)[1]
    if mode == "reflect":
        before = ops.flip(x[:, 1 : left + 1], axis=1)
        after = ops.flip(x[:, length - 1 - right : length - 1], axis=1)
    elif mode == "circular":
        before, after = x[:, length - left :], x[:, :right]
    else:
        before, after = ops.repeat(x[:, :1], left, axis=1), ops.repeat(x[:, -1:], right, axis=1)
    return ops.concatenate([before, x, after], axis=1)


def convolve(x: Tensor, weight: Tensor, spec: Conv1dSpec) -> Tensor:
    """Convolution without padding or bias.

    Keras refuses stride together with dilation, TensorFlow cannot train groups on a CPU, and it
    rounds the steps of a dilated convolution up to a multiple of the dilation, which is most of the
    work where there are few of them: there all taps go into one matrix product.

    Args:
        x: (batch, time, in).
        weight: (K, in / groups, out).
    Returns:
        (batch, (time - reach - 1) // stride + 1, out).
    """
    length = x.shape[1]
    few = isinstance(length, int) and length - spec.reach <= spec.dilation
    if spec.groups > 1 or (spec.dilation > 1 and (spec.stride > 1 or few)):
        return _unfolded(x, weight, spec)
    return ops.conv(
        x,
        weight,
        strides=spec.stride,
        padding="valid",
        data_format="channels_last",
        dilation_rate=spec.dilation,
    )


def _unfolded(x: Tensor, weight: Tensor, spec: Conv1dSpec) -> Tensor:
    """The taps side by side, times the kernel as one matrix (a group)."""
    steps = (ops.shape(x)[1] - spec.reach - 1) // spec.stride + 1
    ends = [tap * spec.dilation + (steps - 1) * spec.stride + 1 for tap in range(spec.kernel_size)]
    seen = [x[:, tap * spec.dilation : end : spec.stride] for tap, end in enumerate(ends)]
    if spec.groups == 1:
        flat = ops.reshape(weight, (-1, spec.out_channels))
        return ops.matmul(ops.concatenate(seen, axis=-1), flat)
    groups = spec.groups
    shape = (-1, steps, spec.kernel_size, groups, spec.in_channels // groups)
    patches = ops.reshape(ops.stack(seen, axis=2), shape)
    weight = ops.reshape(weight, (*weight.shape[:2], groups, spec.out_channels // groups))
    y = ops.einsum("btkgi,kigo->btgo", patches, weight)
    return ops.reshape(y, (-1, steps, spec.out_channels))


class Conv1d(Block[Conv1dSpec], kind="conv1d"):
    """y[t, o] = b[o] + sum over i, j of w[j, i, o] x[t * stride + j * dilation, i]."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, in) -> (batch, time', out)."""
        if stream is None:
            x = padded(x, pads_of(self.spec, ops.shape(x)[1]), self.spec.padding_mode)
        else:
            x = self._continue(x, stream)
            if x.shape[1] <= self.spec.reach:
                return ops.zeros((x.shape[0], 0, self.spec.out_channels), dtype=x.dtype)
        return multiplied(self._convolved, x, kernel(self), self.arrays.get("bias"))

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve an already padded signal."""
        y = convolve(x, weight, self.spec)
        return y if bias is None else y + bias

    def _continue(self, x: Tensor, stream: Stream) -> Tensor:
        """Put the context before the chunk, and drop the steps before the first output's."""
        spec, table, length = self.spec, self.spec.own_state(), x.shape[1]
        if "context" in table:
            context = stream.read(self.path, "context")
            if "started" in table:
                if not stream.read(self.path, "started"):
                    context = ops.repeat(x[:, :1], spec.reach, axis=1)
                stream.write(self.path, "started", 1)
            x = ops.concatenate([context, x], axis=1)
            stream.write(self.path, "context", x[:, x.shape[1] - spec.reach :])
        if "skip" not in table:
            return x
        skip = stream.read(self.path, "skip")
        _, after = strided_steps(skip, length, spec.stride)
        stream.write(self.path, "skip", after)
        return x[:, skip:]


class ConvTranspose1d(Block[ConvTranspose1dSpec], kind="conv_transpose1d"):
    """Input step i adds w[j, :, :] x[i, :] to output step i * stride + j * dilation."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, in) -> (batch, time * stride, out), or as `padding` says."""
        compute = partial(self._scattered, stream=stream)
        return multiplied(compute, x, kernel(self), self.arrays.get("bias"))

    def _scattered(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stream: Stream | None
    ) -> Tensor:
        """Scatter the taps, and crop or continue."""
        spec, length = self.spec, ops.shape(x)[1]
        full = self._scatter(x, weight)
        if stream is not None:
            y = ops.cast(self._emit(full, length * spec.stride, stream), x.dtype)
        elif spec.padding == "valid":
            y = full[:, : (length - 1) * spec.stride + spec.reach + 1]
        else:
            left = spec.crops[0]
            y = full[:, left : left + length * spec.stride]
        return y if bias is None else y + bias

    def _scatter(self, x: Tensor, weight: Tensor) -> Tensor:
        """All that the input adds to the output, without bias: (batch, (time + Q) * stride, out).

        Tap j lands j * dilation steps later: quotient whole strides, and remainder steps within one
        stride. So each remainder is a sum of shifted products, and the remainders interleave.
        """
        spec, last = self.spec, self.spec.reach // self.spec.stride
        products = ops.einsum("bti,koi->btko", x, weight)
        phases: list[Tensor] = [None] * spec.stride
        for tap in range(spec.kernel_size):
            shift, phase = divmod(tap * spec.dilation, spec.stride)
            moved = ops.pad(products[:, :, tap], ((0, 0), (shift, last - shift), (0, 0)))
            phases[phase] = moved if phases[phase] is None else phases[phase] + moved
        nothing = ops.zeros_like(phases[0])
        y = ops.stack([nothing if phase is None else phase for phase in phases], axis=2)
        batch, length, _ = ops.shape(x)
        return ops.reshape(y, (batch, (length + last) * spec.stride, spec.out_channels))

    def _emit(self, full: Tensor, steps: int, stream: Stream) -> Tensor:
        """Add the tail of earlier chunks, return the finished steps, and keep the rest."""
        overlap = max(0, self.spec.overlap)
        y = full[:, : steps + overlap]
        if overlap:
            tail = stream.read(self.path, "tail")
            y = wide(y) + ops.pad(tail, ((0, 0), (0, y.shape[1] - overlap), (0, 0)))
            stream.write(self.path, "tail", y[:, steps:])
        return y[:, :steps]


class ConvBlock(Block[ConvBlockSpec], kind="conv_block"):
    """Convolution -> norm -> activation -> dropout."""

    conv: Conv1d
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Block[Any] | None

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, in) -> (batch, time', out)."""
        x = maybe(self.norm, self.conv(x, stream))
        return maybe(self.dropout, maybe(self.activation, x))
