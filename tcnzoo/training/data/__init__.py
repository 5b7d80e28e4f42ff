"""Data of a training run: `load` makes train, val and test from a configuration."""

from tcnzoo.training.data.bouts import bouts_dataset
from tcnzoo.training.data.config import (
    AddingData,
    AnyData,
    ArraysData,
    BoutsData,
    CopyMemoryData,
    EventsData,
    MatData,
    OsdData,
    Part,
    SplitConfig,
    WindowsData,
)
from tcnzoo.training.data.dataset import ArrayDataset, Batch, Dataset, check_labels
from tcnzoo.training.data.events import events_dataset
from tcnzoo.training.data.files import array_dataset
from tcnzoo.training.data.mat import mat_datasets
from tcnzoo.training.data.osd.windows import osd_dataset
from tcnzoo.training.data.sampling import epoch_order
from tcnzoo.training.data.splits import PARTS, check_parts, split
from tcnzoo.training.data.tasks import adding_datasets, copy_memory_datasets
from tcnzoo.training.data.windows import window_dataset

__all__ = [
    "AnyData",
    "ArrayDataset",
    "Batch",
    "Dataset",
    "Part",
    "SplitConfig",
    "check_labels",
    "epoch_order",
    "load",
    "split",
]


def load(config: AnyData, seed: int) -> dict[Part, Dataset]:
    """The parts of the data that a configuration names.

    Args:
        config: one of the kinds of `tcnzoo.training.data.config`.
        seed: of the split, and of generated tasks.
    Returns:
        `train`, `val` and `test`; one whose share is 0 is left out.
    Raises:
        InputError: invalid files, an empty part, a group in two parts, or
            a label outside the classes.
        BackendMissing: a package that reads the files is not installed.
    """
    if isinstance(config, AddingData):
        parts = adding_datasets(config, seed)
    elif isinstance(config, CopyMemoryData):
        parts = copy_memory_datasets(config, seed)
    elif isinstance(config, MatData):
        parts = mat_datasets(config)
    elif isinstance(config, EventsData):
        parts = split(events_dataset(config), config.split, seed)
    elif isinstance(config, BoutsData):
        parts = split(bouts_dataset(config), config.split, seed)
    elif isinstance(config, WindowsData):
        parts = split(window_dataset(config), config.split, seed)
    else:
        parts = _from_files(config, seed)
    for part, dataset in parts.items():
        if dataset.classes is not None:
            check_labels(dataset, len(dataset.classes), part)
    return parts


def _from_files(config: ArraysData | OsdData, seed: int) -> dict[Part, Dataset]:
    """Parts with files of their own, and the others from `path`."""

    def read(paths: str | tuple[str, ...]) -> Dataset:
        if isinstance(config, OsdData):
            return osd_dataset(config, paths)
        return array_dataset(config, str(paths))

    own: dict[Part, Dataset] = {}
    if config.val is not None:
        own["val"] = read(config.val)
    if config.test is not None:
        own["test"] = read(config.test)
    whole = read(config.path)
    rest = [part for part in PARTS if part not in own]
    from_path = {"train": whole} if rest == ["train"] else split(whole, config.split, seed, rest)
    merged: dict[Part, Dataset] = {**from_path, **own}  # type: ignore[dict-item]
    check_parts(merged, config.split)
    return {part: merged[part] for part in PARTS if part in merged}
