#!/usr/bin/env bash
# torch 2.13.0 (CPU build): two in-place writes that do not raise a tensor's version counter.
#
# torch counts in-place writes in `tensor._version`; autograd refuses a backward pass through a tensor that was
# written since ("modified by an inplace operation"), and caches of folded or packed weights use it as their key.
#
# Seen: AdamW, foreach or single, raises the version of a parameter, AdamW(fused=True) moves it and leaves the
# version at 0. `batch_norm` in training moves running_mean and leaves its version as well. So
# - a cache keyed by versions serves old weights after a fused step;
# - a backward pass that needs the old value of a weight is refused after a foreach step, and gives a wrong
#   gradient without a word after a fused one: w * x, x = 1, w stepped from 1: d/dx is the new w, not 1.
# torch.autograd.graph.increment_version(parameters) after each step restores both.
#
# Output:
#   foreach: moved, version 0 -> 1, backward after the step: refused
#   fused: moved, version 0 -> 0, backward after the step: gradient 0.90 instead of 1.00
#   batch_norm: running_mean moved, version 0 -> 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$work/venv/bin/python" - <<'PYTHON'
import torch

assert torch.__version__.partition("+")[0] == "2.13.0", torch.__version__
expected = {"foreach": (True, "refused"), "fused": (False, "gradient 0.90 instead of 1.00")}
for name, (counted, answer) in expected.items():
    w = torch.nn.Parameter(torch.ones(3))
    x = torch.ones(3, requires_grad=True)
    y = (w * x).sum()
    optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.0, **{name: True})
    w.grad = torch.ones(3)
    before = w._version
    optimizer.step()
    assert not torch.equal(w, torch.ones(3))
    try:
        (slope,) = torch.autograd.grad(y, x)
        found = f"gradient {slope[0].item():.2f} instead of 1.00"
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error), error
        found = "refused"
    print(f"{name}: moved, version {before} -> {w._version}, backward after the step: {found}")
    assert (w._version > before) == counted, "the count has changed"
    assert found == answer, "the answer has changed"

mean, variance = torch.zeros(2), torch.ones(2)
torch.nn.functional.batch_norm(torch.full((4, 2, 5), 3.0), mean, variance, training=True)
assert not torch.equal(mean, torch.zeros(2))
print(f"batch_norm: running_mean moved, version 0 -> {mean._version}")
assert mean._version == 0, "the count has changed"
PYTHON
