"""Spherical splines: the potential anywhere on the head from that at some electrodes.

Source:
    Perrin, Pernier, Bertrand, Echallier 1989, equations 1 to 3 (doi:10.1016/0013-4694(89)90180-6);
    the regularisation and the pseudo-inverse are those of MNE-Python 1.13.2, which this equals for
    the same origin and alpha.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcnzoo.arrays import Array
    from tcnzoo.specs.montages import Place

# A constant and three places determine a spline no better than a mean.
FEWEST = 4


def sphere_of(places: Sequence["Place"]) -> "Array":
    """Centre of the sphere that lies nearest to some places, by linear least squares, (3,) metres.

    |p|^2 = 2 c . p + (r^2 - |c|^2) is linear in the centre c and in the last term.
    """
    import numpy as np  # not needed to describe a model

    points = np.array(places, dtype=np.float64)
    table = np.hstack([2.0 * points, np.ones((len(points), 1))])
    solution: Array = np.linalg.lstsq(table, (points**2).sum(axis=1), rcond=None)[0]
    return solution[:3]


def directions(places: Sequence["Place"], origin: "Array") -> "Array":
    """Unit vectors from the origin to some places, (n, 3)."""
    import numpy as np

    apart = np.array(places, dtype=np.float64) - origin
    length: Array = np.linalg.norm(apart, axis=1, keepdims=True)
    return apart / length


def kernel(cosines: "Array", stiffness: int, terms: int) -> "Array":
    """g(x) = sum over n from 1 of (2 n + 1) / (n^m (n + 1)^m 4 pi) P_n(x), m the stiffness."""
    from numpy.polynomial import legendre

    factors = [
        (2 * n + 1) / (n**stiffness * (n + 1) ** stiffness * 4.0 * math.pi)
        for n in range(1, terms + 1)
    ]
    values: Array = legendre.legval(cosines, [0.0, *factors])
    return values


def weights(
    sources: "Array", targets: "Array", *, alpha: float, stiffness: int, terms: int
) -> "Array":
    """What each source counts for each target, (targets, sources); rows sum to 1.

    Args:
        sources, targets: unit vectors, (n, 3).
        alpha: added to the diagonal: 0 goes through the sources.
        stiffness, terms: of the kernel.
    """
    import numpy as np

    count = len(sources)
    among = kernel(sources @ sources.T, stiffness, terms) + alpha * np.eye(count)
    whole = np.ones((count + 1, count + 1))
    whole[:count, :count], whole[count, count] = among, 0.0
    across = np.hstack([kernel(targets @ sources.T, stiffness, terms), np.ones((len(targets), 1))])
    result: Array = across @ np.linalg.pinv(whole)[:, :count]
    return result


def angles(sources: "Array", targets: "Array") -> "Array":
    """Degrees from each target to the nearest source, (targets,)."""
    import numpy as np

    nearest: Array = np.clip(targets @ sources.T, -1.0, 1.0).max(axis=1)
    return np.degrees(np.arccos(nearest))
