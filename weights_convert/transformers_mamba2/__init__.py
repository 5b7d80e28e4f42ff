"""Mamba-2 models of transformers, both ways: a whole stack, or a single mixer.

A directory has config.json and model.safetensors; a .pt or .safetensors file of tensors alone says
less, and what it leaves open are hints. The tensors of a mixer have their neutral names.

Since version 5 transformers norms each group of a mixer by itself, as mamba_ssm does; version 4 and
mlx-lm norm all channels at once, which matters with more than one group: `grouped_norm` is a hint.
In a stream transformers 5.23 leaves out `time_step_limit`, which holds here always.

A model that mlx-lm saved has the convolutions as (channels, K, 1). mlx-lm also takes eps 1e-5 in
the norms before the mixers, whatever the configuration says: where that or the groups make a
difference, the file is asked whose numbers are meant.

Source: names of transformers 5.23 (Apache-2.0), `Mamba2Model`, `Mamba2Mixer`; mlx-lm 0.32.2 (MIT),
`mlx_lm.models.mamba2`.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "Mamba-2 model or mixer of transformers: directory with config.json, or state_dict"
SUFFIXES: tuple[str, ...] = ()
FOREIGN = True
