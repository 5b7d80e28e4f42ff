"""How a model of keras-tcn is told from other Keras models."""

import re
from pathlib import Path

from ..containers.keras import (
    SUFFIXES as SUFFIXES,
    read_document,
    weight_groups,
)
from ..keras_chain.chain import kinds_in

NAME = "keras-tcn"

# Groups that Keras 3 keeps the variables of a TCN in; in older files layers go by their names.
_GROUP = re.compile(r"tcn(_\d+)?")


def detect(path: Path) -> bool:
    """Whether a layer of the model is a TCN, or a group of weights alone is named as its are."""
    document = read_document(path)
    if document is not None:
        return "TCN" in kinds_in(document.model)
    return any(_GROUP.fullmatch(name) for name in weight_groups(path) or ())
