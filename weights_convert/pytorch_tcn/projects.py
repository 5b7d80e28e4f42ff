"""Which of three projects wrote a net: pytorch-tcn, mlx-tcn and locuslab/TCN share most names.

A file may be of any of them until a name in it says otherwise; shapes are not asked, because a
transposed kernel may look like another one. What is left open, the caller has to say.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from ..containers.detect import archive, kind_of
from ..containers.npz import npz_comment
from ..containers.own import MARK
from ..containers.state_dicts import names_in
from ..mlx import beside_in

LOCUSLAB, PYTORCH, MLX = "locuslab-tcn", "pytorch-tcn", "mlx-tcn"

# A tensor that every such net has, and what stands before it where the net is part of a model.
ROOT = re.compile(r"(.*\.|)network\.0\.(?:conv1|net\.0)\.")

# A name of a detector, which is a format of its own, around a net of pytorch-tcn.
DETECTOR = re.compile(r"(?:^|\.)mamba\.layers\.0\.layer_norm\.weight$")

_PROJECTS = {
    "pt": {LOCUSLAB, PYTORCH},
    "npz": {MLX},
    "safetensors": {LOCUSLAB, PYTORCH, MLX},
}

# A name that occurs, one that does not, and who writes such files.
_NEVER = r"(?!)"
_SIGNS = tuple(
    (re.compile(rf"(?:^|\.){there}"), re.compile(rf"(?:^|\.){absent}"), projects)
    for there, absent, projects in (
        (r"network\.0\.net\.[04]\.", _NEVER, {LOCUSLAB}),
        (r"network\.0\.conv1\.parametrizations\.", r"network\.0\.net\.[04]\.", {PYTORCH}),
        (r"network\.0\.conv1\.parametrizations\.", _NEVER, {LOCUSLAB, PYTORCH}),
        (r"network\.\d+\.downsample\.", _NEVER, {LOCUSLAB, PYTORCH}),
        (r"network\.\d+\.conv[12]\.padder\.buffer$", _NEVER, {PYTORCH, MLX}),
        (r"network\.\d+\.norm[12]\.", _NEVER, {PYTORCH, MLX}),
        (r"(?:downsample_skip_connection|projection_out)\.", _NEVER, {PYTORCH, MLX}),
        (r"network\.\d+\.conv[12]\.buffer$", _NEVER, {PYTORCH}),
        (r"network\.\d+\.norm[12]\.num_batches_tracked$", _NEVER, {PYTORCH}),
        (r"network\.\d+\.embedding_projection_[12]\.", _NEVER, {PYTORCH}),
        (
            r"network\.\d+\.norm[12]\.running_mean$",
            r"network\.\d+\.norm[12]\.num_batches_tracked$",
            {MLX},
        ),
        (r"network\.\d+\.embedding_projection[12]\.", _NEVER, {MLX}),
        (r"network\.\d+\.downSample\.", _NEVER, {MLX}),
        (r"network\.\d+\.se\.expand\.", _NEVER, {MLX}),
    )
)


def projects(path: Path) -> set[str]:
    """Names of the formats that a file may be of, told from the names in it; nothing is run.

    Raises:
        WeightError: a file that is cut short or unsafe.
    """
    kind = kind_of(path)
    if kind not in _PROJECTS:
        return set()
    said, names = _contents(path, kind)
    if said.startswith(MARK):
        return _PROJECTS[kind] & {said.removeprefix(MARK)}
    if not any(ROOT.match(name) for name in names) or _occurs(DETECTOR, names):
        return set()
    possible = set(_PROJECTS[kind])
    for there, absent, writers in _SIGNS:
        if _occurs(there, names) and not _occurs(absent, names):
            possible &= writers
    return possible


def _occurs(pattern: re.Pattern[str], names: Iterable[str]) -> bool:
    """Whether a name fits."""
    return any(pattern.search(name) for name in names)


def _contents(path: Path, kind: str) -> tuple[str, Iterable[str]]:
    """The mark that a file of ours has, and the names of the tensors."""
    if kind != "npz":
        return names_in(path)
    said = str(beside_in(npz_comment(path)).get("format", ""))
    with archive(path) as opened:
        return said, [name.removesuffix(".npy") for name in opened.namelist()]
