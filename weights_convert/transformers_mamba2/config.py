"""The config.json of a Mamba-2 model of transformers, and the fields of a mamba2 that it says.

Source: transformers 5.23 (Apache-2.0), `Mamba2Config`, `Mamba2Mixer` and `Mamba2Model`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.specs import Mamba2Spec

from ..mamba_ssm.facts import MambaFacts
from ..mamba_ssm.spec import limits, obstacles

CONFIG = "config.json"
MODEL_TYPE = "mamba2"
SILU = ("silu", "swish")

# Key of config.json -> field of a mamba2, and what transformers takes where the key is not there.
FIELDS: Mapping[str, tuple[str, Any]] = {
    "hidden_size": ("channels", None),
    "state_size": ("d_state", None),
    "head_dim": ("head_dim", None),
    "expand": ("expand", None),
    "conv_kernel": ("d_conv", None),
    "use_bias": ("bias", None),
    "use_conv_bias": ("conv_bias", None),
    "n_groups": ("groups", 8),
    "layer_norm_epsilon": ("norm_eps", 1e-5),
    "time_step_limit": ("dt_limit", (0.0, None)),
    "time_step_min": ("dt_min", 1e-3),
    "time_step_max": ("dt_max", 0.1),
    "time_step_floor": ("dt_floor", 1e-4),
}
# Keys whose product alone the tensors say.
COUNTS = ("state_size", "n_groups")
# Fields that the tensors say as well.
SHAPED = ("channels", "head_dim", "expand", "d_conv", "bias", "conv_bias")


def config_of(directory: Path) -> dict[str, Any] | None:
    """The configuration in a directory, or None where it is not one of a Mamba-2 model."""
    path = directory / CONFIG
    if not path.is_file():  # a pipe or a device would be read without end
        return None
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_mamba = isinstance(document, dict) and document.get("model_type") == MODEL_TYPE
    return document if is_mamba else None


def needed_config(directory: Path) -> dict[str, Any]:
    """The same, which must be there.

    Raises:
        InputError: it is not.
    """
    config = config_of(directory)
    if config is None:
        raise InputError(
            f"{str(directory / CONFIG)!r} must be the configuration of a model of type "
            f"{MODEL_TYPE!r}, but is none"
        )
    return config


def fields_of(config: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a mamba2 that a configuration says.

    Args:
        config: contents of config.json.
        path: of the file, for the sentences of errors.
    Returns:
        the fields, and those of them that the file leaves out and transformers assumes.
    Raises:
        SpecError: an activation that a mamba2 has not, or a size that is no whole number.
    """
    activation = config.get("hidden_act", SILU[0])
    if activation not in SILU:
        raise SpecError(
            f"'hidden_act' in {str(path)!r} must be silu, which a mamba2 has, but is {activation!r}"
        )
    fields, assumed = {}, {}
    for key, (name, default) in FIELDS.items():
        if key in config:
            value = _decoded(config[key])
            if key in COUNTS and type(value) is not int:
                raise SpecError(f"{key!r} in {str(path)!r} must be a number, but is {value!r}")
            fields[name] = limits(value) if name == "dt_limit" else value
        elif default is not None:
            fields[name] = assumed[name] = default
    return fields, assumed


def _decoded(value: Any) -> Any:
    """A value of JSON in which transformers 5 writes an infinite number as a dictionary."""
    if isinstance(value, list):
        return [_decoded(inner) for inner in value]
    if isinstance(value, dict) and value.get("__float__") == "Infinity":
        return math.inf
    return value


def check_shapes(fields: Mapping[str, Any], facts: MambaFacts, path: Path, prefix: str) -> None:
    """Raise WeightError where a configuration and the tensors of a layer say different things.

    Args:
        fields: as `fields_of` gives them.
        facts: of the layer.
        path: of the model, for the sentence.
        prefix: what stands before the names of the layer's tensors.
    """
    said = {name: fields[name] for name in SHAPED if name in fields}
    shaped = {name: getattr(facts, name) for name in said}
    if "groups" in fields and "d_state" in fields:
        said["groups * d_state"] = fields["groups"] * fields["d_state"]
        shaped["groups * d_state"] = facts.shared
    for name, value in said.items():
        if value != shaped[name]:
            raise WeightError(
                f"{CONFIG} in {str(path)!r} says {name}={value!r}, but the tensors "
                f"{prefix + '*'!r} have {shaped[name]}"
            )


def check_layers(config: Mapping[str, Any], layers: int, path: Path) -> None:
    """Raise WeightError where a configuration says another number of layers than the tensors."""
    said = config.get("num_hidden_layers", layers)
    if said != layers:
        raise WeightError(
            f"{CONFIG} in {str(path)!r} says num_hidden_layers={said!r}, but the tensors are those "
            f"of {layers} layers"
        )


def config_document(mamba: Mamba2Spec, layers: int) -> dict[str, Any]:
    """The configuration of a model of so many equal layers.

    It has one token, because a Mamba-2 model of transformers and of mlx-lm has embeddings, and the
    keys that mlx-lm cannot do without. An infinite limit becomes `Infinity`, which Python's JSON
    and both libraries read.
    """
    low, high = mamba.dt_limit
    return {
        "model_type": MODEL_TYPE,
        "architectures": ["Mamba2Model"],
        "num_hidden_layers": layers,
        "hidden_size": mamba.channels,
        "intermediate_size": mamba.inner,
        "expand": mamba.expand,
        "num_heads": mamba.heads,
        "head_dim": mamba.head_dim,
        "state_size": mamba.d_state,
        "n_groups": mamba.groups,
        "conv_kernel": mamba.d_conv,
        "hidden_act": SILU[0],
        "use_bias": mamba.bias,
        "use_conv_bias": mamba.conv_bias,
        "layer_norm_epsilon": mamba.norm_eps,
        "rms_norm": True,
        "chunk_size": mamba.chunk_size or 256,
        "time_step_limit": [low, math.inf if high is None else high],
        "time_step_min": mamba.dt_min,
        "time_step_max": mamba.dt_max,
        "time_step_floor": mamba.dt_floor,
        "time_step_rank": "auto",
        "residual_in_fp32": True,
        "tie_word_embeddings": True,
        "vocab_size": 1,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def refused(mamba: Mamba2Spec) -> Iterator[str]:
    """Say which fields of a mamba2 transformers has not."""
    yield from obstacles(mamba)
    if mamba.channels is not None and mamba.width != mamba.inner:
        yield f"d_ssm must be expand * channels, {mamba.inner}, but is {mamba.width}"
    if mamba.d_per_channel:
        yield "d_per_channel must be false"
    if not mamba.rms_norm:
        yield "rms_norm must be true"
    if mamba.norm_before_gate:
        yield "norm_before_gate must be false"
