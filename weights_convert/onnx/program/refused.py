"""A graph that cannot be read."""

from tcnzoo.errors import WeightError

# For what is refused only once all nodes were read.
LATE = 10**9


class Refused(WeightError):
    """A graph that cannot be read.

    Attributes:
        nodes_read: how many nodes were read before.
    """

    def __init__(self, sentence: str, nodes_read: int) -> None:
        """Keep the number beside the sentence."""
        super().__init__(sentence)
        self.nodes_read = nodes_read
