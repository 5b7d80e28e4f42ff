"""How a net of braindecode is told from others."""

from pathlib import Path

from tcnzoo.checkpoints.directory import TENSORS
from tcnzoo.errors import TcnzooError
from tcnzoo.files.documents import read_mapping

from ..containers.own import MARK
from ..containers.state_dicts import names_in
from .nets import net_of

NAME = "braindecode"
CONFIG = "config.json"
PICKLED = "pytorch_model.bin"


def weights_in(path: Path) -> Path:
    """The file with the tensors: of a folder, or the path itself."""
    if not path.is_dir():
        return path
    pickled = path / PICKLED
    return pickled if pickled.is_file() and not (path / TENSORS).is_file() else path / TENSORS


def is_hub_folder(path: Path) -> bool:
    """Whether a folder has a configuration with what each class of braindecode is told."""
    if not (path / CONFIG).is_file():
        return False
    try:
        return "n_outputs" in read_mapping(path / CONFIG)
    except (OSError, TcnzooError):
        return False


def detect(path: Path) -> bool:
    """Whether the names of the tensors in a folder or file are those of a net; nothing is run."""
    weights = weights_in(path)
    if not weights.is_file() or (path.is_dir() and not is_hub_folder(path)):
        return False
    said, names = names_in(weights)
    return not said.startswith(MARK) and net_of(names) is not None
