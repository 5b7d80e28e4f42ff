"""Whether something fits into the memory of this machine, asked before any of it is taken.

Frameworks end such a call in errors of their own, or the system ends the process.
"""

import os
from pathlib import Path

from tcnzoo.errors import InputError, number_text

# What a container may use at most, where there is one.
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def check_fits(size: int, what: str) -> None:
    """Refuse what is larger than the memory.

    Args:
        size: bytes.
        what: the start of the sentence, up to a verb that the number follows.
    Raises:
        InputError: the sizes of both.
    """
    memory = available()
    if memory is not None and size > memory:
        raise InputError(
            f"{what} {number_text(size)} bytes, but there are {memory / 2**30:.3g} GiB of memory"
        )


def available() -> int | None:
    """Bytes of memory that this process may have at most; None where the system does not say."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        import resource
    except (AttributeError, ImportError, OSError, ValueError):  # not on every system
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    limits = [found] if limit == resource.RLIM_INFINITY else [found, limit]
    said = CONTAINER.read_text().strip() if CONTAINER.is_file() else ""
    return min([*limits, int(said)] if said.isdigit() else limits)
