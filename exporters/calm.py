"""Foreign compilers: quiet while they run, and their refusals in one sentence."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from tcnzoo.errors import SpecError, TcnzooError
from tcnzoo.specs import Spec

# These warn of the versions of other packages, and of libraries of theirs for other machines.
LOGGERS = ("coremltools", "torchao", "torch.utils._pytree", "root")


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Drop warnings of age and of open files, log messages below errors, and progress bars."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            for category in (DeprecationWarning, FutureWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def converting(tool: str, spec: Spec) -> Iterator[None]:
    """Run a compiler calmly.

    Args:
        tool: what it is called.
        spec: what it is given.
    Raises:
        SpecError: whatever the compiler raises, for these have no class in common.
    """
    try:
        with calm():
            yield
    except (TcnzooError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SpecError(f"{tool} cannot convert this {spec.kind}: {reason}") from error
