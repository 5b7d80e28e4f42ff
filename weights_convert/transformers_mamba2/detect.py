"""How a Mamba-2 model of transformers is told from others."""

import re
from pathlib import Path

from ..containers.own import MARK
from ..containers.state_dicts import names_in
from ..mamba_ssm.detect import holds_mamba
from .config import (
    config_of,
)

NAME = "transformers-mamba2"

STACK = re.compile(r"(.*\.|)layers\.0\.mixer\.A_log$")
_EMBEDDING = re.compile(r"(?:^|\.)embedding\.weight$")  # mamba_ssm's name


def detect(path: Path) -> bool:
    """Whether it is a directory with such a configuration, or a file with the names of a stack."""
    if path.is_dir():
        return config_of(path) is not None
    said, names = names_in(path)
    stack = any(STACK.match(name) for name in names) and holds_mamba(names)
    return stack and not said.startswith(MARK) and not any(map(_EMBEDDING.search, names))
