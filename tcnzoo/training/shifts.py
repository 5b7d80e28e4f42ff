"""Biases that a batch norm takes away again: their gradient in training is zero."""

from tcnzoo.specs import BatchNormSpec, Spec


def cancelled_biases(spec: Spec) -> frozenset[str]:
    """Names of the biases that feed a batch norm and nothing else.

    The mean of the batch takes such a bias away, so its gradient is zero. What a framework computes
    instead is rounding, and Adam scales the smallest gradient to steps of full size: the bias, and
    the running mean after it, would wander differently in every framework. A step therefore counts
    these gradients as the zeros that they are.
    """
    tables = spec.tables()
    biases = set()
    for path, part in tables.parts.items():
        for kernel, norm in part.normed_kernels().items():
            prefix = f"{path}." if path else ""
            if isinstance(tables.parts[prefix + norm], BatchNormSpec):
                biases.add(f"{prefix}{kernel}.bias")
    return frozenset(biases & tables.params.keys())
