"""Vector quantisers: one codebook, and residual levels of codebooks."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.inference.codebook import kmeans
from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import ResidualVqSpec, VectorQuantizerSpec

from .block import Tensor
from .kernels.callback import on_host
from .kernels.nearest import nearest, passed
from .quantizer import Quantizer, Rows, spread_of
from .replicas import of_all, summed
from .types import wide


class _Picked(NamedTuple):
    """What one codebook gives for rows, with how often each code was chosen."""

    output: Tensor
    chosen: Tensor
    loss: Tensor
    counts: Tensor


class VectorQuantizer(Quantizer[VectorQuantizerSpec], kind="vector_quantizer"):
    """One codebook; see VectorQuantizerSpec."""

    def read(self, name: str) -> Tensor:
        """A variable in neutral layout, in float32 at least."""
        value = wide(self.arrays[name])
        return ops.transpose(value) if len(value.shape) == 2 else value

    def assign(self, name: str, value: Tensor) -> None:
        """Assign a variable from neutral layout."""
        value = ops.stop_gradient(value)
        self.arrays[name].assign(ops.transpose(value) if len(value.shape) == 2 else value)

    def codes(self) -> Tensor:
        """The codes, (K, channels), in float32 at least; of length 1 with cosine."""
        return self.scaled(self.read("codebook"))

    def scaled(self, values: Tensor) -> Tensor:
        """The values as they are compared: of length 1 with cosine."""
        if not self.spec.cosine:
            return values
        squares = ops.sum(ops.square(values), axis=-1, keepdims=True)
        # Below the least square, so that the gradient at 0 is no NaN.
        return values * ops.rsqrt(ops.maximum(squares, 1e-24))

    def _quantize(self, rows: Rows, training: bool) -> Quantized:
        output, chosen, loss, counts = self.pick(rows, self.scaled(rows.values), training)
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Tensor) -> Tensor:
        """The codes of rows, with the gradient to them."""
        values, codes = self.scaled(values), self.codes()
        return passed(self.spec.gradient, values, codes, nearest(values, codes))

    def moves(self, training: bool) -> bool:
        """Whether a step moves the averages."""
        return bool(training and self.trainable) and self.spec.update != "gradient"

    def pick(self, rows: Rows, values: Tensor, training: bool, refresh: bool = True) -> _Picked:
        """Choose codes for scaled rows; in training, move the averages, and maybe the codes.

        The averages move by the rows of all devices that train together.
        """
        moves = self.moves(training)
        all_rows, all_values = (rows.of_all(), of_all(values)) if moves else (rows, values)
        if moves and self.spec.kmeans_iterations:
            self._start(all_rows, all_values)
        codes = self.codes()
        chosen = nearest(values, codes)
        output = passed(self.spec.gradient, values, codes, chosen)
        loss = self.spec.commitment * rows.mean(ops.square(values - ops.stop_gradient(output)))
        if self.spec.update == "gradient":
            taken = ops.take(codes, chosen, axis=0)
            loss = loss + rows.mean(ops.square(taken - ops.stop_gradient(values)))
        picked = of_all(chosen) if moves else chosen
        counts = all_rows.counts(picked, self.spec.codes)
        if moves:
            sound = ops.isfinite(summed(ops.stop_gradient(loss)))
            self.observe(all_values, picked, counts, sound)
            if refresh:
                self.refresh([(all_rows, all_values)])
        return _Picked(output, chosen, loss, counts)

    def observe(self, values: Tensor, chosen: Tensor, counts: Tensor, sound: Tensor) -> None:
        """Move the averages towards the counts and sums of a batch, if it is sound.

        Masked rows are 0, and so is what they add.
        """
        decay = self.spec.decay
        sums = ops.segment_sum(values, chosen, num_segments=self.spec.codes)
        batch = {"cluster_size": counts}
        if self.spec.update == "ema":
            batch["embed_avg"] = sums
        for name, value in batch.items():
            old = self.read(name)
            self.assign(name, ops.where(sound, decay * old + (1.0 - decay) * value, old))
        if self.spec.update == "unit_ema":
            turned = self.scaled(decay * self.codes() + (1.0 - decay) * self.scaled(sums))
            chosen_by_some = ops.logical_and(ops.expand_dims(counts, 1) > 0.0, sound)
            self.assign("codebook", ops.where(chosen_by_some, turned, self.read("codebook")))

    def refresh(self, seen: list[tuple[Rows, Tensor]]) -> None:
        """Read the codes from the averages, and restart the dead ones at some of the values.

        Args:
            seen: rows and scaled values of each level that shares the codebook.
        """
        if self.spec.update != "ema":
            return
        size = self.read("cluster_size")
        total = ops.sum(size)
        smoothed = (size + self.spec.eps) * (total / (total + self.spec.codes * self.spec.eps))
        codes = self.scaled(self.read("embed_avg") / ops.expand_dims(smoothed, 1))
        if self.spec.dead_code_threshold > 0.0:
            codes = self._restart(codes, size, seen)
        self.assign("codebook", codes)

    def _restart(self, codes: Tensor, size: Tensor, seen: list[tuple[Rows, Tensor]]) -> Tensor:
        """The codes with dead ones on values that lie evenly over the batch."""
        threshold, levels, rows = self.spec.dead_code_threshold, len(seen), seen[0][0]
        count = ops.cast(rows.count, "int32") * levels
        dead = size < threshold
        rank = ops.cumsum(ops.cast(dead, "int32")) - 1
        most = ops.clip(ops.sum(ops.cast(dead, "int32")), 1, ops.maximum(count, 1))
        # (2 rank + 1) count // (2 most) in two parts, for 32 bits may be all there are.
        whole, rest = count // (2 * most), count % (2 * most)
        position = (2 * rank + 1) * whole + ((2 * rank + 1) * rest) // (2 * most)
        position = ops.clip(position, 0, ops.maximum(count - 1, 0))
        values = ops.stack([values for _, values in seen], axis=1)
        fresh = rows.take(position // levels, values)
        fresh = ops.take_along_axis(fresh, (position % levels)[:, None, None], axis=1)[:, 0]
        # A batch that is masked as a whole, or holds NaN, restarts nothing.
        sound = ops.logical_and(count > 0, ops.all(ops.isfinite(values)))
        dead = ops.logical_and(ops.logical_and(dead, rank < most), sound)
        self.assign("cluster_size", ops.where(dead, threshold, size))
        rows_dead = ops.expand_dims(dead, 1)
        self.assign("embed_avg", ops.where(rows_dead, fresh * threshold, self.read("embed_avg")))
        return ops.where(rows_dead, fresh, codes)

    def _start(self, rows: Rows, values: Tensor) -> None:
        """Run k-means at the first training step."""
        names = list(self.spec.own_params())
        before = [self.read(name) for name in names]
        kept = ops.ones_like(values[:, 0]) if rows.kept is None else rows.kept
        placed = ops.cond(
            self.read("initialised")[0] < 0.5,
            lambda: on_host(self._placed, [ops.stop_gradient(values), kept], before),
            lambda: before,
        )
        for name, value in zip(names, placed, strict=True):
            self.assign(name, value)

    def _placed(self, values: Array, kept: Array, iterations: int = 0) -> list[Array]:
        """What k-means makes of the variables, neutral; a code without values weighs as one."""
        spec = self.spec
        chosen = values[kept.astype(bool)]
        centres, counts = kmeans(
            chosen, spec.codes, iterations or spec.kmeans_iterations, spec.cosine
        )
        weight = np.maximum(counts, 1.0)
        placed = {
            "codebook": centres,
            "cluster_size": weight,
            "embed_avg": centres * weight[:, None],
            "initialised": np.ones(1),
        }
        return [placed[name].astype(values.dtype) for name in spec.own_params()]

    def initialise_codebook(self, x: Tensor, iterations: int = 10, mask: Any = None) -> None:
        """Set the codebook by k-means on a batch of inputs of this block; see inference.codebook.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        rows = Rows(x, mask)
        self.fit_codes(rows, rows.values, iterations)

    def fit_codes(self, rows: Rows, values: Tensor, iterations: int) -> None:
        """Set codes and averages by k-means on rows, outside any graph."""
        values = to_numpy(self.scaled(values))
        kept = np.ones(len(values)) if rows.kept is None else to_numpy(rows.kept)
        placed = self._placed(values, kept, iterations)
        for name, value in zip(self.spec.own_params(), placed, strict=True):
            self.assign(name, ops.convert_to_tensor(value))


class ResidualVq(Quantizer[ResidualVqSpec], kind="residual_vq"):
    """Levels of codebooks, each for what the ones before have left."""

    levels: dict[int, VectorQuantizer]

    def level(self, index: int) -> VectorQuantizer:
        """The quantiser of a level; with a shared codebook, always the same."""
        return self.levels[0 if self.spec.shared else index]

    def _quantize(self, rows: Rows, training: bool) -> Quantized:
        residual, picked, seen = rows.values, [], []
        for index in range(self.spec.levels):
            level = self.level(index)
            values = level.scaled(residual)
            picked.append(level.pick(rows, values, training, refresh=not self.spec.shared))
            seen.append(values)
            residual = rows.masked(residual - ops.stop_gradient(picked[-1].output))
        if self.spec.shared and self.level(0).moves(training):
            whole = rows.of_all()
            self.level(0).refresh([(whole, of_all(values)) for values in seen])
        outputs, chosen, losses, counts = zip(*picked, strict=True)
        spread = spread_of(ops.stack(counts))
        indices = ops.stack([rows.indices(each) for each in chosen], axis=-1)
        return Quantized(rows.signal(sum(outputs)), indices, sum(losses), *spread)

    def lookup(self, values: Tensor) -> Tensor:
        """The sum of the codes of rows; every level passes the gradient on."""
        residual, total = values, ops.zeros_like(values)
        for index in range(self.spec.levels):
            output = self.level(index).lookup(residual)
            residual, total = residual - ops.stop_gradient(output), total + output
        return total

    def initialise_codebook(self, x: Tensor, iterations: int = 10, mask: Any = None) -> None:
        """Set the codebooks level by level, each by k-means on what the ones before leave.

        A shared codebook is set by the values of the first level.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        rows = Rows(x, mask)
        residual = rows.values
        for index in range(1 if self.spec.shared else self.spec.levels):
            level = self.level(index)
            level.fit_codes(rows, residual, iterations)
            residual = residual - level.lookup(residual)
