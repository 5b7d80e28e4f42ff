#!/usr/bin/env bash
# vector-quantize-pytorch 1.32.0: ResidualVQ(diveq=True) adds noise in evaluation mode, too. Two calls of one module on
# one input differ, and the output is not the sum of the codes whose indices come with it. VectorQuantize, which has the
# same noise as directional_reparam=True, adds it in training only. The state dict does not say whether diveq was set.
# Seen:
#   two calls in evaluation differ by 0.28 with diveq, by 0 without
#   output and the sum of its codes differ by 0.19 with diveq, by 0 without
#   VectorQuantize(directional_reparam=True): two calls differ by 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy vector-quantize-pytorch==1.32.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

torch.manual_seed(0)
x = torch.randn(2, 50, 6)


def apart(net):
    """Largest difference of two calls, and of an output and the sum of its codes."""
    net.eval()
    with torch.no_grad():
        first, indices, _ = net(x)
        second = net(x)[0]
        codes = net.get_output_from_indices(indices)
    return float((first - second).abs().max()), float((first - codes).abs().max())


sizes = {"dim": 6, "codebook_size": 8}
noisy = apart(ResidualVQ(**sizes, num_quantizers=2, diveq=True))
plain = apart(ResidualVQ(**sizes, num_quantizers=2))
single = apart(VectorQuantize(**sizes, directional_reparam=True, threshold_ema_dead_code=2))
print(f"two calls in evaluation differ by {noisy[0]:.2g} with diveq, by {plain[0]:.2g} without")
print(f"output and the sum of its codes differ by {noisy[1]:.2g} with diveq, by {plain[1]:.2g} without")
print(f"VectorQuantize(directional_reparam=True): two calls differ by {single[0]:.2g}")
assert noisy[0] > 0.01 and noisy[1] > 0.01
assert plain[0] == 0 and plain[1] < 1e-6 and single[0] == 0
PYTHON
