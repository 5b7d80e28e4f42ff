"""How a state_dict of an `nn.Sequential` is written."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import replacing_pair
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec

from ..containers.own import header
from ..containers.state_dicts import write_state_dict
from .detect import NAME
from .groups import COUNTER
from .modules import Module, modules_of


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that the modules of the .yaml beside it load strictly.

    Raises:
        SpecError: a model that is no chain of torch's layers.
        InputError: the .yaml is there and is not one of ours.
    """
    modules = modules_of(spec)
    named: dict[str, Array] = {}
    for number, module in enumerate(modules):
        named |= {f"{number}.{name}": weights[neutral] for name, neutral in module.params.items()}
        if "running_var" in module.params:
            named[f"{number}.{COUNTER}"] = np.zeros((), np.int64)
    with _described(path, spec, modules) as temporary:
        write_state_dict(temporary, named, header(NAME, spec))
    return {}


@contextlib.contextmanager
def _described(path: Path, spec: Spec, modules: list[Module]) -> Iterator[Path]:
    """Write the modules and the spec beside a file that the block writes; both or neither."""
    beside = path.with_suffix(".yaml")
    _check_beside(beside)
    document = {
        "modules": {number: module.text for number, module in enumerate(modules)},
        "spec": spec.model_dump(mode="json"),
    }
    with replacing_pair(path, beside) as (temporary, description):
        description.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        yield temporary


def _check_beside(path: Path) -> None:
    """Refuse to replace a .yaml that is not one of ours."""
    if not path.exists():
        return
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict) or not {"modules", "spec"} <= document.keys():
        raise InputError(
            f"{str(path)!r}, where the modules would be described, exists already and holds "
            "something else; choose another name"
        )
