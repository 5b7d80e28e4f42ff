"""How a state_dict of mamba_ssm is written."""

from collections.abc import Mapping
from pathlib import Path

from tcnzoo.arrays import Weights
from tcnzoo.errors import SpecError
from tcnzoo.specs import Spec

from ..containers.own import header, to_stored
from ..containers.state_dicts import write_state_dict
from ..torch import LAYOUT
from .detect import NAME
from .spec import DEFAULTS_OF_NORM, obstacles, the_mamba


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a plain state_dict that a `Mamba2` of these sizes loads strictly.

    Raises:
        SpecError: a model that a `Mamba2` cannot be.
    """
    mamba = the_mamba(NAME, spec)
    against = list(obstacles(mamba))
    eps = DEFAULTS_OF_NORM["norm_eps"]
    if mamba.rms_norm and mamba.norm_eps != eps:
        against.append(f"norm_eps must be {eps:g}, but is {mamba.norm_eps:g}")
    if against:
        raise SpecError(f"{NAME} cannot hold this model: {'; '.join(against)}")
    write_state_dict(path, to_stored(mamba.params(), weights, LAYOUT), header(NAME, mamba))
    return {}
