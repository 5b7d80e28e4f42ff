"""How a chain of Keras layers is told from the models of projects that are formats of their own."""

from pathlib import Path

from ..containers.keras import (
    SUFFIXES as SUFFIXES,
    read_document,
    weight_groups,
)
from ..keras import detect as is_ours
from ..keras_chain.chain import is_model
from ..keras_tcn.detect import detect as is_keras_tcn
from ..osd_keras.detect import detect as is_osd_keras

NAME = "keras-sequential"


def detect(path: Path) -> bool:
    """Whether it is a Sequential or functional model of Keras, and not of a project that we know.

    A file of weights alone counts as well.
    """
    document = read_document(path)
    if document is None:
        groups = weight_groups(path)
        return groups is not None and not is_ours(path) and not is_keras_tcn(path)
    if not is_model(document.model):
        return False
    return not is_keras_tcn(path) and not is_osd_keras(path)
