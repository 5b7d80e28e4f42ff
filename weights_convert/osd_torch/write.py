"""How a checkpoint of OpenSeizureDetector is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec

from ..containers.own import header
from ..containers.pt import state_dict_of, write_pt
from .arguments import arguments_of, the_chain
from .detect import NAME
from .names import COUNTER, RATES, STATE, foreign_names

MODEL_CLASS = "user_tools.nnTraining2.deepEpiCnnModel_torch.DeepEpiCnnModelPyTorch"


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a checkpoint whose `model_state_dict` the origin's net loads strictly.

    Raises:
        SpecError: another net than the origin's, such as one of other strides, another batch-norm
            eps, or with a softmax at the end.
    """
    chain = the_chain(spec)
    arguments = arguments_of(chain)
    named: dict[str, Array] = {}
    for name, foreign in foreign_names(chain).items():
        named[foreign] = weights[name]
        if foreign.endswith(".running_var"):
            named[foreign.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    rates = {name: arguments[name] for name in RATES}
    model = {"framework": "pytorch", "modelClass": MODEL_CLASS}
    model |= {RATES[name]: rate for name, rate in rates.items()}
    state = state_dict_of(named, header(NAME, spec))
    write_pt(path, {STATE: state, **rates, "config": {"modelConfig": model}})
    return {}
