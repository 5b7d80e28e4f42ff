#!/usr/bin/env bash
# mlx-lm 0.32.2: in a Mamba-2 model layer_norm_epsilon of the configuration reaches the gated norms and the last norm, but
# not the norms before the mixers, which always have mlx's default of 1e-5. transformers 5 takes layer_norm_epsilon in all
# of them, so one checkpoint with another eps gives other numbers in the two.
# Seen:
#   layer_norm_epsilon=0.3: norm before the mixer 1e-05, gated norm 0.3, last norm 0.3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "mlx[cpu]==0.32.4" mlx-lm==0.32.2
"$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
from mlx_lm.models.mamba2 import Model, ModelArgs

arguments = {
    "model_type": "mamba2", "num_heads": 4, "head_dim": 3, "vocab_size": 5, "hidden_size": 6,
    "intermediate_size": 12, "state_size": 5, "num_hidden_layers": 1, "layer_norm_epsilon": 0.3,
    "conv_kernel": 4, "n_groups": 1, "use_bias": False, "use_conv_bias": True,
    "tie_word_embeddings": True, "time_step_limit": (0.0, float("inf")), "time_step_rank": "auto",
}
model = Model(ModelArgs.from_dict(arguments))
block = model.backbone.layers[0]
found = block.norm.eps, block.mixer.norm.eps, model.backbone.norm_f.eps
print(
    f"layer_norm_epsilon=0.3: norm before the mixer {found[0]:g}, gated norm {found[1]:g}, "
    f"last norm {found[2]:g}"
)
assert found == (1e-5, 0.3, 0.3)
PYTHON
