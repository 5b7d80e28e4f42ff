"""Vector quantisers: one codebook, and residual levels of codebooks."""

from typing import NamedTuple

import mlx.core as mx
import numpy as np

from tcnzoo.inference.codebook import kmeans
from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import ResidualVqSpec, VectorQuantizerSpec

from .kernels.nearest import nearest, passed
from .processes import Processes
from .quantizer import Quantizer, Vectors, spread_of
from .types import wide


class _Picked(NamedTuple):
    """What one codebook gives for vectors, with how often each code was chosen."""

    output: mx.array
    chosen: mx.array
    loss: mx.array
    counts: mx.array


class VectorQuantizer(Quantizer[VectorQuantizerSpec], kind="vector_quantizer"):
    """One codebook; see VectorQuantizerSpec.

    In training the codebook and its averages move, so a compiled step names the model among
    mx.compile's `outputs`, as for batch norm.
    """

    _processes: Processes | None = None
    _started = False  # set by who knows that no k-means is to come, as before a step is compiled

    def codes(self) -> mx.array:
        """The codes, (K, channels), in float32; of length 1 with cosine."""
        return self.scaled(wide(self["codebook"]))

    def scaled(self, values: mx.array) -> mx.array:
        """The values as they are compared: of length 1 with cosine."""
        if not self.spec.cosine:
            return values
        squares = mx.square(values).sum(axis=-1, keepdims=True)
        # Below the least square, so that the gradient at 0 is no NaN.
        return values * mx.rsqrt(mx.maximum(squares, 1e-24))

    def _quantize(self, vectors: Vectors) -> Quantized:
        output, chosen, loss, counts = self.pick(vectors, self.scaled(vectors.values))
        spread = spread_of(counts)
        return Quantized(vectors.signal(output), vectors.indices(chosen), loss, *spread)

    def lookup(self, values: mx.array) -> mx.array:
        """The codes of values (n, channels), with the gradient to them."""
        values, codes = self.scaled(values), self.codes()
        return passed(self.spec.gradient, values, codes, nearest(values, codes))

    @property
    def moves(self) -> bool:
        """Whether a step moves the averages."""
        return self.training and self.spec.update != "gradient"

    def pick(self, vectors: Vectors, values: mx.array, refresh: bool = True) -> _Picked:
        """Choose codes for scaled values; in training, move the averages, and maybe the codes."""
        if self.training and self.unstarted:
            self.fit_codes(vectors, values, self.spec.kmeans_iterations)
        codes = self.codes()
        chosen = nearest(values, codes)
        output = passed(self.spec.gradient, values, codes, chosen)
        loss = self.spec.commitment * vectors.mean(mx.square(values - mx.stop_gradient(output)))
        if self.spec.update == "gradient":
            loss = loss + vectors.mean(mx.square(codes[chosen] - mx.stop_gradient(values)))
        counts = vectors.counts(chosen, self.spec.codes)
        if self.moves:
            fixed = mx.stop_gradient(values)
            self.observe(fixed, chosen, counts, mx.isfinite(mx.stop_gradient(loss)))
            if refresh:
                self.refresh([(vectors, fixed)])
        return _Picked(output, chosen, loss, counts)

    def observe(
        self, values: mx.array, chosen: mx.array, counts: mx.array, sound: mx.array
    ) -> None:
        """Move the averages towards the counts and sums of a batch, if it is sound.

        Masked values are 0, and so is what they add. Of several processes it is the batch of all.
        """
        decay, sums = self.spec.decay, mx.zeros(self["codebook"].shape).at[chosen].add(values)
        if self._processes is not None:
            bad = (~sound).astype(counts.dtype)
            totals = self._processes.totals({"counts": counts, "sums": sums, "bad": bad})
            counts, sums, sound = totals["counts"], totals["sums"], totals["bad"] == 0.0
        batch = {"cluster_size": counts}
        if self.spec.update == "ema":
            batch["embed_avg"] = sums
        for name, value in batch.items():
            old = wide(self[name])
            moved = decay * old + (1.0 - decay) * value
            self[name] = mx.where(sound, moved, old).astype(self[name].dtype)
        if self.spec.update == "unit_ema":
            old = wide(self["codebook"])
            turned = self.scaled(decay * self.codes() + (1.0 - decay) * self.scaled(sums))
            chosen_by_some = (counts[:, None] > 0.0) & sound
            moved = mx.where(chosen_by_some, turned, old)
            self["codebook"] = moved.astype(self["codebook"].dtype)

    def refresh(self, seen: list[tuple[Vectors, mx.array]]) -> None:
        """Read the codes from the averages, and restart the dead ones at some of the values.

        Args:
            seen: vectors and scaled values of each level that shares the codebook.
        """
        if self.spec.update != "ema":
            return
        size = wide(self["cluster_size"])
        total = size.sum()
        smoothed = (size + self.spec.eps) * (total / (total + self.spec.codes * self.spec.eps))
        codes = self.scaled(wide(self["embed_avg"]) / smoothed[:, None])
        if self.spec.dead_code_threshold > 0.0:
            codes = self._restart(codes, seen)
        self["codebook"] = codes.astype(self["codebook"].dtype)

    def _restart(self, codes: mx.array, seen: list[tuple[Vectors, mx.array]]) -> mx.array:
        """The codes with dead ones on values that lie evenly over the batch."""
        threshold, levels, vectors = self.spec.dead_code_threshold, len(seen), seen[0][0]
        count = mx.array(levels, dtype=mx.int64) * vectors.count
        size = self["cluster_size"]
        dead = size < threshold
        rank = mx.cumsum(dead.astype(mx.int64)) - 1
        most = mx.clip(dead.astype(mx.int64).sum(), 1, mx.maximum(count, 1))
        index = mx.clip((2 * rank + 1) * count // (2 * most), 0, mx.maximum(count - 1, 0))
        values = mx.stack([scaled for _, scaled in seen], axis=1)
        fresh = vectors.take(index // levels, values)[mx.arange(len(codes)), index % levels]
        # A batch that is masked as a whole, or holds NaN, restarts nothing.
        dead = dead & (rank < most) & (count > 0) & mx.isfinite(values).all()
        self["cluster_size"] = mx.where(dead, threshold, size).astype(size.dtype)
        average = self["embed_avg"]
        moved = mx.where(dead[:, None], fresh * threshold, average)
        self["embed_avg"] = moved.astype(average.dtype)
        return mx.where(dead[:, None], fresh, codes)

    @property
    def unstarted(self) -> bool:
        """Whether k-means is to come; the codebook's flag is looked at, as no compiled step can."""
        wanted = self.spec.kmeans_iterations and not self._started
        return bool(wanted and self["initialised"].item() < 0.5)

    def initialise_codebook(
        self, x: mx.array, iterations: int = 10, mask: mx.array | None = None
    ) -> None:
        """Set the codebook by k-means on a batch of inputs of this block; see inference.codebook.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        vectors = Vectors(x, mask)
        self.fit_codes(vectors, self.scaled(vectors.values), iterations)

    def fit_codes(self, vectors: Vectors, values: mx.array, iterations: int) -> None:
        """Set codes and averages by k-means; a code without values gets the weight of one."""
        chosen = np.array(mx.stop_gradient(values))
        if vectors.kept is not None:
            chosen = chosen[np.array(vectors.kept)]
        centres, counts = kmeans(chosen, self.spec.codes, iterations, self.spec.cosine)
        weight = np.maximum(counts, 1.0)
        fitted = {
            "codebook": centres,
            "cluster_size": weight,
            "embed_avg": centres * weight[:, None],
            "initialised": np.ones(1),
        }
        for name in self.spec.own_params():
            array = mx.array(fitted[name].astype(np.float32)).astype(self[name].dtype)
            self[name] = array if self._processes is None else self._processes.of_first(array)


class ResidualVq(Quantizer[ResidualVqSpec], kind="residual_vq"):
    """Levels of codebooks, each for what the ones before have left."""

    levels: list[VectorQuantizer]  # only one where it is shared

    def level(self, index: int) -> VectorQuantizer:
        """The quantiser of a level; with a shared codebook, always the same."""
        return self.levels[0 if self.spec.shared else index]

    def _quantize(self, vectors: Vectors) -> Quantized:
        residual, picked, seen = vectors.values, [], []
        for index in range(self.spec.levels):
            level = self.level(index)
            values = level.scaled(residual)
            picked.append(level.pick(vectors, values, refresh=not self.spec.shared))
            seen.append((vectors, mx.stop_gradient(values)))
            residual = vectors.masked(residual - mx.stop_gradient(picked[-1].output))
        if self.spec.shared and self.level(0).moves:
            self.level(0).refresh(seen)
        outputs, chosen, losses, counts = zip(*picked, strict=True)
        loss, spread = mx.stack(list(losses)).sum(), spread_of(mx.stack(list(counts)))
        indices = mx.stack([vectors.indices(codes) for codes in chosen], axis=-1)
        output = vectors.signal(mx.stack(list(outputs)).sum(axis=0))
        return Quantized(output, indices, loss, *spread)

    def lookup(self, values: mx.array) -> mx.array:
        """The sum of the codes of values (n, channels); every level passes the gradient on."""
        residual, total = values, mx.zeros(values.shape)
        for index in range(self.spec.levels):
            output = self.level(index).lookup(residual)
            residual, total = residual - mx.stop_gradient(output), total + output
        return total

    def initialise_codebook(
        self, x: mx.array, iterations: int = 10, mask: mx.array | None = None
    ) -> None:
        """Set the codebooks level by level, each by k-means on what the ones before leave.

        A shared codebook is set by the values of the first level.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        vectors = Vectors(x, mask)
        residual = vectors.values
        for index in range(1 if self.spec.shared else self.spec.levels):
            level = self.level(index)
            level.fit_codes(vectors, level.scaled(residual), iterations)
            residual = residual - level.lookup(residual)
