"""A model in evaluation mode over a part of the data."""

from collections.abc import Iterator, Sequence

import numpy as np

from tcnzoo.training.data import Batch, Dataset
from tcnzoo.training.losses import AnyLoss
from tcnzoo.training.metrics import Evaluation
from tcnzoo.training.prefetch import prefetched
from tcnzoo.training.stepper import Stepper


def evaluate(
    stepper: Stepper, dataset: Dataset, losses: Sequence[AnyLoss], size: int
) -> Evaluation:
    """Run over all of a part of the data.

    Args:
        stepper: whose model it is.
        dataset: the part.
        losses: of the plan.
        size: examples of a batch.
    """
    found = Evaluation(losses, dataset)
    with prefetched(in_order(dataset, size)) as batches:
        for batch in batches:
            found.add(batch, *stepper.evaluate(batch))
    return found


def in_order(dataset: Dataset, size: int) -> Iterator[Batch]:
    """Batches of all examples as they are."""
    for start in range(0, len(dataset), size):
        yield dataset.batch(np.arange(start, min(start + size, len(dataset))), None)
