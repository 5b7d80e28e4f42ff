"""Vector quantisers: one codebook, and residual levels of codebooks."""

from typing import NamedTuple

import numpy as np

from tcnzoo.inference.codebook import kmeans, nearest, unit
from tcnzoo.models.outputs import Quantized

from .block import Array
from .quantizer import Quantizer, spread_of


class _Picked(NamedTuple):
    """What one codebook gives for rows, with how often each code was chosen."""

    output: Array
    chosen: Array
    loss: Array
    counts: Array


class VectorQuantizer(Quantizer, kind="vector_quantizer"):
    """One codebook; see VectorQuantizerSpec."""

    def codes(self) -> Array:
        """The codes, (K, channels); of length 1 with cosine."""
        return self.scaled(self.arrays["codebook"])

    def scaled(self, values: Array) -> Array:
        """The values as they are compared: of length 1 with cosine."""
        return unit(values) if self.spec.cosine else values

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Quantise. See Quantizer."""
        rows = self.rows(x, mask)
        output, chosen, loss, counts = self.pick(rows.values)
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Array) -> Array:
        """The codes of rows."""
        codes = self.codes()
        return codes[nearest(self.scaled(values), codes)]

    def pick(self, values: Array) -> _Picked:
        """Choose codes for rows."""
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
        placed = {"codebook": codes, "cluster_size": weight, "embed_avg": codes * weight[:, None]}
        placed["initialised"] = np.ones(1, dtype=dtype)
        self.arrays.update({name: placed[name] for name in self.arrays})


class ResidualVq(Quantizer, kind="residual_vq"):
    """Levels of codebooks, each for what the ones before have left."""

    def level(self, index: int) -> VectorQuantizer:
        """The quantiser of a level; with a shared codebook, always the same."""
        found = self.parts["levels.0" if self.spec.shared else f"levels.{index}"]
        assert isinstance(found, VectorQuantizer)
        return found

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Quantise level by level. See Quantizer."""
        rows = self.rows(x, mask)
        residual, found = rows.values, []
        for index in range(self.spec.levels):
            found.append(self.level(index).pick(residual))
            residual = residual - found[-1].output
        outputs, chosen, losses, counts = (np.stack(one) for one in zip(*found, strict=True))
        indices = np.stack([rows.indices(one) for one in chosen], axis=1)
        output = rows.signal(outputs.sum(axis=0))
        return Quantized(output, indices, losses.sum(), *spread_of(counts))

    def lookup(self, values: Array) -> Array:
        """The sum of the codes of rows."""
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
