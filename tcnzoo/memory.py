"""Whether something fits into the memory of this machine, asked before any of it is taken.

Frameworks end such a call in errors of their own, or the system ends the process.
"""

import os
from pathlib import Path

from tcnzoo.errors import InputError, number_text

# What a container may use at most, where there is one.
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def check_fits(size: int, what: str, *numbers: int) -> None:
    """Refuse what is larger than the memory.

    Args:
        size: bytes.
        what: the start of the sentence, up to a verb that the number follows.
        numbers: that stand in `what`, as {}.
    Raises:
        InputError: the sizes of both.
    """
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
        import resource
    except (AttributeError, ImportError, OSError, ValueError):  # the system does not say
        return
    of_process = resource.getrlimit(resource.RLIMIT_AS)[0]
    if of_process != resource.RLIM_INFINITY:
        limits.append(of_process)
    of_container = CONTAINER.read_text().strip() if CONTAINER.is_file() else ""
    if of_container.isdigit():
        limits.append(int(of_container))
    memory = min(limits)
    if size > memory:
        start = what.format(*map(number_text, numbers))
        raise InputError(
            f"{start} {number_text(size)} bytes, but there are {memory / 2**30:.3g} GiB of memory"
        )
