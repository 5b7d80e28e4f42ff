"""Times as whole numbers of 10 ns, so that sums and comparisons do not depend on rounding.

0.1 + 0.7 s and 0.8 s differ as floats and are the same tick. Times of up to 8 decimals, and
samples at 256 Hz, are whole ticks; a float holds each of them for two years.
"""

TICKS = 10**8
Span = tuple[int, int]


def to_ticks(seconds: float) -> int:
    """The tick that is nearest to a time in s, of any size; halves are rounded up."""
    above, below = float(seconds).as_integer_ratio()
    return (2 * above * TICKS + below) // (2 * below)


def to_seconds(ticks: int) -> float:
    """The float that is nearest to a tick, in s."""
    return ticks / TICKS


def span_ticks(span: tuple[float, float]) -> Span:
    """Start and stop in s as ticks."""
    return to_ticks(span[0]), to_ticks(span[1])


def rounded(seconds: float, rate: int) -> int:
    """How many samples at `rate` Hz a time is nearest to; halves are rounded up."""
    return (to_ticks(seconds) * rate * 2 + TICKS) // (2 * TICKS)
