"""Vector quantisers: one codebook, and residual levels of codebooks."""

from typing import NamedTuple

import numpy as np

from tcnzoo.inference.codebook import kmeans, nearest, unit
from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import ResidualVqSpec, VectorQuantizerSpec

from .block import Array
from .quantizer import Quantizer, spread_of


class _Picked(NamedTuple):
    """What one codebook gives for vectors, with how often each code was chosen."""

    output: Array
    chosen: Array
    loss: Array
    counts: Array


class VectorQuantizer(Quantizer[VectorQuantizerSpec], kind="vector_quantizer"):
    """One codebook; see VectorQuantizerSpec."""

    def codes(self) -> Array:
        """The codes, (K, channels); of length 1 with cosine."""
        return self.scaled(self.arrays["codebook"])

    def scaled(self, values: Array) -> Array:
        """The values as they are compared: of length 1 with cosine."""
        return unit(values) if self.spec.cosine else values

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Quantise. See Quantizer."""
        vectors = self.vectors(x, mask)
        output, chosen, loss, counts = self.pick(vectors.values)
        return Quantized(vectors.signal(output), vectors.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Array) -> Array:
        """The codes of vectors."""
        codes = self.codes()
        return codes[nearest(self.scaled(values), codes)]

    def pick(self, values: Array) -> _Picked:
        """Choose codes for vectors."""
        values, codes = self.scaled(values), self.codes()
        chosen = nearest(values, codes)
        weight = self.spec.commitment + (self.spec.update == "gradient")
        loss = weight * np.mean(np.square(values - codes[chosen]))
        return _Picked(codes[chosen], chosen, loss, np.bincount(chosen, minlength=self.spec.codes))

    def fit_codes(self, values: Array, iterations: int) -> None:
        """Set codes and averages by k-means; a code without values gets the weight of one."""
        spec, dtype = self.spec, self.arrays["codebook"].dtype
        centres, counts = kmeans(self.scaled(values), spec.codes, iterations, spec.cosine)
        weight, codes = np.maximum(counts, 1.0).astype(dtype), centres.astype(dtype)
        fitted = {"codebook": codes, "cluster_size": weight, "embed_avg": codes * weight[:, None]}
        fitted["initialised"] = np.ones(1, dtype=dtype)
        self.arrays.update({name: fitted[name] for name in self.arrays})


class ResidualVq(Quantizer[ResidualVqSpec], kind="residual_vq"):
    """Levels of codebooks, each for what the ones before have left."""

    levels: dict[int, VectorQuantizer]

    def level(self, index: int) -> VectorQuantizer:
        """The quantiser of a level; with a shared codebook, always the same."""
        return self.levels[0 if self.spec.shared else index]

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Quantise level by level. See Quantizer."""
        vectors = self.vectors(x, mask)
        residual, picked = vectors.values, []
        for index in range(self.spec.levels):
            picked.append(self.level(index).pick(residual))
            residual = residual - picked[-1].output
        outputs, chosen, losses, counts = (np.stack(fields) for fields in zip(*picked, strict=True))
        indices = np.stack([vectors.indices(codes) for codes in chosen], axis=1)
        output = vectors.signal(outputs.sum(axis=0))
        return Quantized(output, indices, losses.sum(), *spread_of(counts))

    def lookup(self, values: Array) -> Array:
        """The sum of the codes of vectors."""
        residual, total = values, np.zeros_like(values)
        for index in range(self.spec.levels):
            output = self.level(index).lookup(residual)
            residual, total = residual - output, total + output
        return total

    def fit_codes(self, values: Array, iterations: int) -> None:
        """Set the codebooks level by level, each by k-means on what the ones before leave.

        A shared codebook is set by the values of the first level.
        """
        residual = values
        for index in range(1 if self.spec.shared else self.spec.levels):
            level = self.level(index)
            level.fit_codes(residual, iterations)
            residual = residual - level.lookup(residual)
