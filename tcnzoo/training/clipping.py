"""Gradients of one step: summed over micro-batches, and clipped; written once for all backends."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Arrays = dict[str, Any]
B = TypeVar("B")


class Functions(Protocol):
    """The array functions that clipping needs, as `mlx.core` and `keras.ops` have them."""

    def clip(self, x: Any, low: float, high: float, /) -> Any:
        """Values limited to a range."""

    def minimum(self, x: Any, y: Any, /) -> Any:
        """The smaller of two values."""

    def sqrt(self, x: Any, /) -> Any:
        """Square root."""

    def square(self, x: Any, /) -> Any:
        """Square."""

    def stack(self, arrays: Any, /) -> Any:
        """Arrays along a new first axis."""

    def sum(self, x: Any, /) -> Any:
        """Sum of all values."""


def accumulated(
    differentiate: Callable[[B], tuple[Arrays, Arrays]],
    batches: Sequence[B],
    sizes: Sequence[int],
    evaluate: Callable[[Arrays, Arrays], Any] | None = None,
) -> tuple[Arrays, Arrays]:
    """Losses and gradients of several micro-batches, each weighted by its share of the examples.

    Args:
        differentiate: computes (losses by name, gradients by name) of a micro-batch.
        batches: the micro-batches.
        sizes: examples of each.
        evaluate: computes lazy sums before the next micro-batch, so that the activations of only
            one are in memory.
    """
    losses: Arrays = {}
    gradients: Arrays = {}
    for batch, size in zip(batches, sizes, strict=True):
        if losses and evaluate is not None:
            evaluate(losses, gradients)
        share = size / sum(sizes)
        more_losses, more_gradients = differentiate(batch)
        losses = _sum(losses, share, more_losses)
        gradients = _sum(gradients, share, more_gradients)
    return losses, gradients


def _sum(sums: Arrays, share: float, arrays: Arrays) -> Arrays:
    if not sums:
        return {name: share * array for name, array in arrays.items()}
    return {name: sums[name] + share * array for name, array in arrays.items()}


def clipped(
    xp: Functions, gradients: Arrays, clip_norm: float | None, clip_value: float | None
) -> tuple[Any, Arrays]:
    """The norm of all gradients, and the gradients limited by value, then by norm.

    Args:
        xp: the backend's array functions.
        gradients: by name.
        clip_norm: largest Euclidean norm of all together, or None.
        clip_value: largest size of a single value, or None.
    """
    norm = _norm(xp, gradients)
    if clip_value is not None:
        gradients = {
            name: xp.clip(gradient, -clip_value, clip_value) for name, gradient in gradients.items()
        }
    if clip_norm is not None:
        # torch.nn.utils.clip_grad_norm_ has the same 1e-6.
        scale = xp.minimum(clip_norm / (_norm(xp, gradients) + 1e-6), 1.0)
        gradients = {name: gradient * scale for name, gradient in gradients.items()}
    return norm, gradients


def _norm(xp: Functions, gradients: Arrays) -> Any:
    """Euclidean norm of all gradients together."""
    squares = [xp.sum(xp.square(gradient)) for gradient in gradients.values()]
    return xp.sqrt(xp.sum(xp.stack(squares)))
