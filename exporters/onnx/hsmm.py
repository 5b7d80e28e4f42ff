"""Hidden semi-Markov models: refused."""

from .builder import Value
from .emit import Place, emits


@emits("hsmm")
def hsmm(place: Place, x: Value) -> Value:
    """Refuse: the recursion is a loop over time."""
    reason = "which rank 4 cannot hold" if place.wide else "which is not written as a graph"
    raise place.refuse(
        f"hsmm is a recursion over time, {reason}; export what comes before it and run it on the "
        "host (tcnzoo.step of the numpy backend needs no framework)"
    )
