"""The float64 reference's TCN and squeeze-and-excitation against loops written from the paper."""

import numpy as np
import pytest

import tcnzoo
from tests.support import oracles
from tests.support.compare import assert_close, noise, reference, rows_for, weights_of
from tests.support.tcns import covering, tcn, tcn_grid

# A dozen float64 layers, summed in another order.
EXACT = 1e-11
EPS = 1e-5


@pytest.mark.parametrize("reduction", [0, 2, 8])
@pytest.mark.parametrize("pool", ["global", "cumulative"])
@pytest.mark.parametrize("residual", [False, True])
def test_squeeze_excitation_equals_loop(pool, reduction, residual):
    spec = {
        "kind": "squeeze_excitation", "channels": 6, "pool": pool, "reduction": reduction,
        "residual": residual,
    }  # fmt: skip
    weights, x = weights_of(spec), noise(2, 6, 11)
    expected = oracles.squeeze_excitation(
        x, weights, reduction=reduction > 0, residual=residual, cumulative=pool == "cumulative"
    )
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, EXACT)


class LoopTcn:
    """A TCN as the paper and DESIGN say it, from weights by name; no spec, no blocks."""

    def __init__(self, weights, kernel_dilations, options):
        self.w = {name: array.astype(np.float64) for name, array in weights.items()}
        self.dilations = kernel_dilations
        self.options = options

    def conv(self, x, name, dilation=1):
        if f"{name}.weight" in self.w:
            kernel = self.w[f"{name}.weight"]
        else:
            kernel = oracles.weight_norm(self.w[f"{name}.weight_v"], self.w[f"{name}.weight_g"])
        padding = "causal" if self.options["causal"] else "same"
        mode = self.options["padding_mode"]
        bias = self.w[f"{name}.bias"]
        return oracles.conv1d(x, kernel, bias, dilation=dilation, padding=padding, mode=mode)

    def norm(self, x, name):
        if self.options["norm"] == "batch_norm":
            return oracles.batch_norm(x, self.w, name, EPS)
        if self.options["norm"] == "layer_norm":
            return oracles.layer_norm(x, self.w, name, EPS)
        return x

    def condition(self, x, rows, block):
        steps = np.zeros((x.shape[2],))
        wide = np.concatenate(
            [row[:, :, None] + steps if row.ndim == 2 else row for row in rows], axis=1
        )
        projected = self.conv(wide, f"{block}.embedding1")
        if self.options["embeddings"] == "add":
            return x + projected
        return self.conv(np.concatenate([x, projected], axis=1), f"{block}.embedding2")

    def block(self, x, rows, level):
        block, dilation = f"blocks.{level}", self.dilations[level]
        out = self.norm(self.conv(x, f"{block}.conv1", dilation), f"{block}.norm1")
        if rows:
            out = self.condition(out, rows, block)
        if self.options["gate"]:
            half = out.shape[1] // 2
            out = out[:, :half] * np.vectorize(oracles.sigmoid)(out[:, half:])
        else:
            out = np.maximum(out, 0.0)
        out = np.maximum(
            self.norm(self.conv(out, f"{block}.conv2", dilation), f"{block}.norm2"), 0.0
        )
        if self.options["squeeze_excitation"] != "none":
            prefix = f"{block}.se."
            held = {n.removeprefix(prefix): a for n, a in self.w.items() if n.startswith(prefix)}
            cumulative = self.options["squeeze_excitation"] == "cumulative"
            out = oracles.squeeze_excitation(x=out, w=held, cumulative=cumulative)
        if f"{block}.residual.weight" in self.w:
            x = self.conv(x, f"{block}.residual")
        return np.maximum(x + out, 0.0), out

    def __call__(self, x, rows):
        skips = []
        for level in range(len(self.dilations)):
            x, out = self.block(x, rows, level)
            if f"skips.{level}.weight" in self.w:
                out = self.conv(out, f"skips.{level}")
            skips.append(out)
        if self.options["skip_connections"]:
            x = np.maximum(sum(skips[:-1], start=x), 0.0)
        return self.conv(x, "output")


@pytest.mark.parametrize(
    "options", covering(tcn_grid()), ids=lambda row: "-".join(map(str, row.values()))
)
def test_tcn_equals_loop(options):
    spec = tcn(output_projection=2, **options)
    weights, x, rows = weights_of(spec), noise(2, 3, 11), rows_for(spec, 2, 11)
    expected = LoopTcn(weights, (1, 2, 4), options)(x, rows)
    found = tcnzoo.predict(reference(spec, weights), x, embeddings=rows)
    assert_close(found, expected, EXACT)
