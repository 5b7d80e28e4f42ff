#!/usr/bin/env bash
# On a CPU torch adds the gradients of a layer norm's weight and bias up in the type of the
# parameters: over some thousand rows a bfloat16 sum stops growing at 256 times what is added. The
# forward pass, and the gradients of Linear's weight and bias for the same rows, are summed in
# float32 and are right.
#
# Seen with torch 2.13.0 (CPU build) on Linux (CPython 3.11), 20,000 rows that each add 1:
#   bfloat16: layer norm's bias has the gradient 256, Linear's 19968; right 20000
#   float16: layer norm's bias has the gradient 2048, Linear's 20000; right 20000
#
# Exits with 1 if layer norm's gradient has become right, or Linear's wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy<3"
cd "$folder"
cat > slopes.py <<'CODE'
import torch

ROWS, same = 20_000, True
torch.set_num_threads(1)
for dtype in (torch.bfloat16, torch.float16):
    x = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = []
    for layer in (torch.nn.LayerNorm(8, dtype=dtype), torch.nn.Linear(8, 8, dtype=dtype)):
        layer(x).backward(torch.ones(ROWS, 8, dtype=dtype))
        found.append(layer.bias.grad.float().max().item())
    norm, linear = found
    name = str(dtype).removeprefix("torch.")
    print(
        f"{name}: layer norm's bias has the gradient {norm:.0f}, Linear's {linear:.0f}; "
        f"right {ROWS}"
    )
    same = same and norm < ROWS / 2 and abs(linear - ROWS) < ROWS / 100
raise SystemExit(0 if same else 1)
CODE
"$folder/venv/bin/python" slopes.py
