#!/usr/bin/env bash
# A query that may see no key: three frameworks give zeros, the mean of all values, or NaN, and two of
# them give different answers to the same mask by an option that is about something else.
#
# Padding leaves such rows: a recording without one good channel in a batch of others. The mask below
# forbids query 1 every key. With a boolean mask, torch 2.13.0's scaled_dot_product_attention gives zeros,
# MLX 0.32.4's mx.fast.scaled_dot_product_attention and Keras 3.15.1's dot_product_attention give the mean
# of all three values, those that the mask forbids: masked scores become a large negative number there, the
# same for every key, which the softmax takes for equal chances. MLX gives NaN where the same mask is added
# as minus infinity. torch's MultiheadAttention gives NaN by default and zeros (before its output
# projection, whose bias is 0 here) with `need_weights=False`, although that only leaves out a return
# value. Weights that are moved from one framework to another answer differently, and a net trained
# beside such rows sees values that its mask hides.
#
# Output seen:
#   torch scaled_dot_product_attention: zeros
#   torch MultiheadAttention: NaN
#   torch MultiheadAttention, need_weights=False: zeros
#   mlx, boolean mask: the mean of all values
#   mlx, minus infinity added: NaN
#   keras dot_product_attention: the mean of all values
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 "mlx[cpu]==0.32.4" keras==3.15.1 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import mlx.core as mx
import numpy as np
import torch

rng = np.random.default_rng(0)
q, k, v = (rng.standard_normal((1, 1, 3, 4)).astype("float32") for _ in range(3))
mask = np.ones((1, 1, 3, 3), dtype=bool)
mask[..., 1, :] = False
mean = v[0, 0].mean(axis=0)
lines = []


def say(who, row):
    row = np.asarray(row)
    answers = {
        "NaN": np.isnan(row).all(),
        "zeros": (row == 0).all(),
        "the mean of all values": np.allclose(row, mean, atol=1e-6),
    }
    lines.append(f"{who}: {next((text for text, holds in answers.items() if holds), row)}")


attend = torch.nn.functional.scaled_dot_product_attention
out = attend(*map(torch.tensor, (q, k, v)), attn_mask=torch.tensor(mask))
say("torch scaled_dot_product_attention", out[0, 0, 1])

layer = torch.nn.MultiheadAttention(4, 1, batch_first=True).eval()
x = torch.tensor(q[:, 0])
hidden = torch.tensor(~mask[0, 0])
with torch.no_grad():
    say("torch MultiheadAttention", layer(x, x, x, attn_mask=hidden)[0][0, 1])
    out = layer(x, x, x, attn_mask=hidden, need_weights=False)[0]
    say("torch MultiheadAttention, need_weights=False", out[0, 1])

arrays = [mx.array(one) for one in (q, k, v)]
out = mx.fast.scaled_dot_product_attention(*arrays, scale=0.5, mask=mx.array(mask))
say("mlx, boolean mask", np.array(out)[0, 0, 1])
added = mx.array(np.where(mask, 0.0, -np.inf).astype("float32"))
out = mx.fast.scaled_dot_product_attention(*arrays, scale=0.5, mask=added)
say("mlx, minus infinity added", np.array(out)[0, 0, 1])

out = keras.ops.dot_product_attention(*(np.swapaxes(one, 1, 2) for one in (q, k, v)), mask=mask)
say("keras dot_product_attention", keras.ops.convert_to_numpy(out)[0, 1, 0])

print("\n".join(lines))
assert lines == [
    "torch scaled_dot_product_attention: zeros",
    "torch MultiheadAttention: NaN",
    "torch MultiheadAttention, need_weights=False: zeros",
    "mlx, boolean mask: the mean of all values",
    "mlx, minus infinity added: NaN",
    "keras dot_product_attention: the mean of all values",
], "changed"
PY
"$work/venv/bin/python" -W ignore "$work/show.py"
