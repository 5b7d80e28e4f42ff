"""That keras-tcn is read only."""

from collections.abc import Mapping
from pathlib import Path

from tcnzoo.errors import SpecError
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Refuse: keras-tcn is read only.

    Raises:
        SpecError: always.
    """
    raise SpecError(
        "format 'keras-tcn' is read only; a chain of layers is written as 'keras-sequential'"
    )
