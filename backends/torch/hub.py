"""The calls of huggingface_hub's mixin, for every model of this backend.

What is saved and pushed is a checkpoint directory as `tcnzoo.save` writes it: config.json,
model.safetensors and README.md.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tcnzoo.checkpoints.directory import CONFIG, INDEX, LARGEST_SHARD
from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.errors import BackendMissing, InputError
from tcnzoo.models.calls import load, save

# What is fetched from a repository: enough to load, whatever else lies there.
WANTED = [CONFIG, INDEX, "model*.safetensors"]


class Pretrained:
    """`from_pretrained`, `save_pretrained` and `push_to_hub`, with the mixin's own options."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        **options: Any,
    ) -> Self:
        """Load a model from a checkpoint directory, or from a repository of the hub.

        Args:
            pretrained_model_name_or_path: a directory, which needs no huggingface_hub, or
                `user/name`.
            device, dtype: as in `tcnzoo.load`.
            options: of the mixin: `revision`, `token`, `cache_dir`, `local_files_only`,
                `force_download`.
        Returns:
            The module in evaluation mode, of the class that its spec says.
        Raises:
            BackendMissing: huggingface_hub is not installed.
            InputError: no checkpoint there, or one of another class than this is called on.
            WeightError: a broken file.
        """
        chosen = {"device": device, "dtype": dtype}
        if Path(pretrained_model_name_or_path).is_dir():
            model = load(pretrained_model_name_or_path, "torch", **chosen)
        else:
            hubbed = _mixin().from_pretrained(pretrained_model_name_or_path, **chosen, **options)
            model = hubbed.model
        if not isinstance(model, cls):
            raise InputError(
                f"{str(pretrained_model_name_or_path)!r} holds a {type(model).__name__}, not a "
                f"{cls.__name__}; load it with Block.from_pretrained"
            )
        return model

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        licence: str | None = None,
        parity: ParityReport | None = None,
        max_shard_size: int | str = LARGEST_SHARD,
        **options: Any,
    ) -> str | None:
        """Write a checkpoint directory, in place of one that is there.

        Args:
            save_directory: made if it is not there.
            licence, parity, max_shard_size: as in `tcnzoo.save`.
            options: of the mixin: `push_to_hub`, `repo_id`, and those of `push_to_hub`.
        Returns:
            The address of the commit, where it was pushed.
        Raises:
            BackendMissing: huggingface_hub is not installed.
        """
        saved = self._hubbed(licence, parity, max_shard_size)
        address: str | None = saved.save_pretrained(save_directory, **options)
        return address

    def push_to_hub(
        self,
        repo_id: str,
        *,
        licence: str | None = None,
        parity: ParityReport | None = None,
        max_shard_size: int | str = LARGEST_SHARD,
        **options: Any,
    ) -> str:
        """Write a checkpoint directory into a repository of the hub, made if it is not there.

        Args:
            repo_id: `user/name`.
            licence, parity, max_shard_size: as in `tcnzoo.save`.
            options: of the mixin: `private`, `token`, `branch`, `create_pr`, `commit_message`, ...
        Returns:
            The address of the commit.
        Raises:
            BackendMissing: huggingface_hub is not installed.
        """
        address: str = self._hubbed(licence, parity, max_shard_size).push_to_hub(repo_id, **options)
        return address

    def _hubbed(
        self, licence: str | None, parity: ParityReport | None, max_shard_size: int | str
    ) -> Any:
        """This model in the hands of the mixin."""

        def write(folder: Path) -> None:
            save(
                self,
                folder,
                overwrite=True,
                licence=licence,
                parity=parity,
                max_shard_size=max_shard_size,
            )

        return _mixin()(self, write)


@functools.cache
def _mixin() -> Any:
    """The mixin around a model, for its downloads and uploads."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise BackendMissing(
            "the hub needs huggingface_hub, which is not installed; run: pip install 'tcnzoo[hub]'"
        )
    from huggingface_hub import ModelHubMixin, snapshot_download

    class Hubbed(ModelHubMixin, library_name="tcnzoo"):
        """A model, and how it is written."""

        def __init__(self, model: Any, write: Callable[[Path], None] | None = None) -> None:
            self.model = model
            self.write = write

        def _save_pretrained(self, save_directory: Path) -> None:
            if self.write is None:
                raise TypeError("a model that was read from the hub is saved by itself")
            self.write(save_directory)

        @classmethod
        def _from_pretrained(cls, *, model_id: str, **options: Any) -> Hubbed:
            chosen = {name: options.pop(name) for name in ("device", "dtype")}
            folder = snapshot_download(model_id, allow_patterns=WANTED, **options)
            return cls(load(folder, "torch", **chosen))

    return Hubbed
