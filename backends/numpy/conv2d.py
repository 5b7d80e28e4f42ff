"""Convolutions of signals of several devices by their definition: one product for each tap."""

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block


class Conv2d(Block, kind="conv2d"):
    """y[o, h, t] = b[o] + sum over i, g, j of w[o, i, g, j] x[i, h + g, t + j * dilation]."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, devices, time) -> (batch, out, devices', time')."""
        spec = self.spec
        if stream is None:
            x = np.pad(x, ((0, 0), (0, 0), (0, 0), spec.pads))
        elif spec.reach:
            x = np.concatenate([np.asarray(stream.read(self.path, "context")), x], axis=3)
            stream.write(self.path, "context", x[..., x.shape[3] - spec.reach :])
        return self._taps(x)

    def _taps(self, x: Array) -> Array:
        """Sum the products of every row and tap of the kernel."""
        spec, (rows, taps) = self.spec, self.spec.kernel_size
        batch, _, devices, length = x.shape
        devices, steps = devices - rows + 1, length - spec.reach
        weight = self.arrays["weight"]
        weight = weight.reshape(spec.groups, -1, *weight.shape[1:])
        x = x.reshape(batch, spec.groups, spec.in_channels // spec.groups, *x.shape[2:])
        y = np.zeros((batch, spec.groups, weight.shape[1], devices, steps), dtype=x.dtype)
        for row, tap in np.ndindex(rows, taps):
            first = tap * spec.dilation
            seen = x[..., row : row + devices, first : first + steps]
            y += np.einsum("goi,ngiht->ngoht", weight[..., row, tap], seen, optimize=True)
        y = y.reshape(batch, spec.out_channels, devices, steps)
        return y + self.arrays["bias"][:, None, None] if spec.bias else y


class TemporalBlock2d(Block, kind="temporal_block_2d"):
    """Two dilated 1 x k convolutions with norms and activations, and a residual."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, devices, time) -> (batch, channels, devices, time)."""
        out = x
        for place in (1, 2):
            out = self.parts[f"conv{place}"](out, stream)
            out = self.optional(f"norm{place}", out)
            out = self.optional("dropout", self.parts[f"activation{place}"](out))
        total: Array = self.parts["activation"](self.optional("residual", x, stream) + out)
        return total


class Tcn2d(Block, kind="tcn_2d"):
    """Temporal blocks, one after the other."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, devices, time) -> (batch, channels[-1], devices, time)."""
        for block in self.parts.values():
            x = block(x, stream)
        return x
