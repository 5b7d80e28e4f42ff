#!/usr/bin/env bash
# vector-quantize-pytorch 1.32.0: with use_cosine_sim=True codes are of length 1, except those that no value falls on for
# some hundred steps (threshold_ema_dead_code is 0 by default, so nothing replaces them): their average decays below eps
# and below the eps of the normalisation, and the code becomes zero. A zero code has similarity 0, so it wins wherever all
# live codes point away, and the output is then a zero vector. A file of such a codebook cannot be told from a plain one
# by "all codes have length 1".
# Seen:
#   after 300 steps on two directions: 14 of 16 codes are shorter than 0.001, the longest has length 1.000
#   a value that points away from both: output of length 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy vector-quantize-pytorch==1.32.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from vector_quantize_pytorch import VectorQuantize

torch.manual_seed(0)
net = VectorQuantize(dim=6, codebook_size=16, use_cosine_sim=True).train()
directions = torch.eye(6)[:2]
for _ in range(300):
    net(directions[torch.randint(0, 2, (2, 40))])
net.eval()
lengths = net._codebook.embed.norm(dim=-1)
short = int((lengths < 1e-3).sum())
away = -directions.sum(0).expand(1, 1, 6)
with torch.no_grad():
    output = float(net(away)[0].norm())
print(
    f"after 300 steps on two directions: {short} of 16 codes are shorter than 0.001, "
    f"the longest has length {float(lengths.max()):.3f}"
)
print(f"a value that points away from both: output of length {output:.1f}")
assert short > 8 and abs(float(lengths.max()) - 1) < 1e-4 and output < 1e-3
PYTHON
