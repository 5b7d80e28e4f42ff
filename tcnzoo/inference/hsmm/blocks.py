"""How long signals are cut up, so that what is kept of them does not grow with their length."""

import math

# Steps of a block at least.
SHORTEST = 4096


def blocks_of(steps: int, reach: int) -> list[tuple[int, int]]:
    """First step of each block of a signal, and the step behind it.

    What is kept for each block, and while one is gone through, then both grow with the root of the
    length.

    Args:
        steps: of the signal.
        reach: longest duration, and so columns that are kept for each block.
    """
    size = max(SHORTEST, math.isqrt(steps * reach))
    return [(low, min(low + size, steps)) for low in range(0, steps, size)]
