"""How OpenSeizureDetector's DeepEpi net in Keras is told from other chains."""

from pathlib import Path

from tcnzoo.errors import TcnzooError

from ..containers.keras import read_document
from ..keras_chain.chain import is_model
from .net import plan_blocks

NAME = "osd-keras"


def detect(path: Path) -> bool:
    """Whether it is a Keras model of just these layers."""
    document = read_document(path)
    if document is None or not is_model(document.model):
        return False
    try:
        plan_blocks(document.model, document.old)
    except TcnzooError:
        return False
    return True
