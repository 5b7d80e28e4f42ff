"""When the compiled engine may step a torch model's stream, and when its parts must run."""

import contextlib
import operator
import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tcnzoo.streams.steps import Steps, steps_of

from . import packed


class Watch:
    """What a stream looks at before each step, gathered once: it is looked at every 100 us."""

    def __init__(self, model: Any) -> None:
        """Note the tensors and the tables of hooks of a model and its parts."""
        self.origin = packed.Origin([model])
        self.values = list(_values(self.origin.tables))
        self.hooks = [
            table
            for part in model.modules()
            for table in (part._forward_hooks, part._forward_pre_hooks)
        ]
        self.generation = packed.generation
        self.fits = (
            self.origin.counted
            and all(
                tensor.dtype == torch.float32 and tensor.is_cpu for tensor in self.origin.tensors
            )
            and all(map(_ours, model.modules()))
        )
        self.steps = steps_of(model, f"torch {torch.__version__}", torch.from_numpy)

    def unchanged(self) -> bool:
        """Whether no tensor was replaced, moved or written in place since."""
        origin = self.origin
        now = list(_values(origin.tables))
        return (
            self.generation == packed.generation
            and len(now) == len(self.values)
            and all(map(operator.is_, now, self.values))
            and list(map(_version, origin.tensors)) == origin.versions
            and list(map(Tensor.data_ptr, origin.tensors)) == origin.places
        )


def _values(tables: list[Any]) -> Iterator[Tensor | None]:
    return chain.from_iterable(map(dict.values, tables))


def _ours(part: Any) -> bool:
    """Whether a part is as it was built: none of the user's own, and without parametrisations."""
    built = type(part) is torch.nn.ModuleDict or hasattr(part, "spec")
    return built and "parametrizations" not in part._modules


_version = operator.attrgetter("_version")
_WATCHES: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()


def steps_for(model: Any) -> Steps | None:
    """How the stream of a model is stepped, with the weights that it has now.

    None where its parts must run: in training, with hooks or options, in another float type or on
    another device, or where torch does not count what is written to the weights.
    """
    if model.training or model.options.autocast:
        return None
    watch = _WATCHES.get(model)
    if watch is None or not (watch.origin.counted and watch.unchanged()):
        watch = _WATCHES[model] = Watch(model)
        if watch.steps is not None:
            watch.steps.forget()
    return watch.steps if watch.fits and not any(watch.hooks) else None


_lock = threading.Lock()
_streaming = 0
_threads = 1


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch run on one thread for a while: steps of a stream are too short to be shared out.

    The number of threads is one for the whole process, so it is put back when the last of the
    threads that stream at this moment is done.
    """
    global _streaming, _threads
    with _lock:
        if not _streaming:
            _threads = torch.get_num_threads()
        _streaming += 1
        threads = _threads
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _streaming -= 1
            if threads > 1:
                torch.set_num_threads(threads)
