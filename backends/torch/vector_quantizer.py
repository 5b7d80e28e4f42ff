"""Vector quantisers: one codebook, and residual levels of codebooks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, distributed, nn

from tcnzoo.inference.codebook import kmeans
from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import ResidualVqSpec, VectorQuantizerSpec

from .kernels.nearest import nearest, passed
from .quantizer import Quantizer, Rows, spread_of
from .types import wide


class _Picked(NamedTuple):
    """What one codebook gives for rows, with how often each code was chosen."""

    output: Tensor
    chosen: Tensor
    loss: Tensor
    counts: Tensor


def _shared_among_processes() -> bool:
    """Whether torch.distributed runs."""
    return distributed.is_available() and distributed.is_initialized()


class VectorQuantizer(Quantizer[VectorQuantizerSpec], kind="vector_quantizer"):
    """One codebook; see VectorQuantizerSpec."""

    codebook: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    initialised: Tensor

    def codes(self) -> Tensor:
        """The codes, (K, channels), in float32 at least; of length 1 with cosine."""
        codes = wide(self.codebook)
        return F.normalize(codes, dim=-1) if self.spec.cosine else codes

    def scaled(self, values: Tensor) -> Tensor:
        """The values as they are compared: of length 1 with cosine."""
        return F.normalize(values, dim=-1) if self.spec.cosine else values

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantise; in training, move the codebook afterwards. See Quantizer."""
        rows = Rows(x, mask)
        output, chosen, loss, counts = self.pick(self.scaled(rows.values))
        spread = spread_of(counts.to(loss.dtype))
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread)

    def lookup(self, values: Tensor) -> Tensor:
        """The codes of rows, with the gradient to them."""
        values, codes = self.scaled(values), self.codes().detach()
        chosen = nearest(values.detach(), codes)
        if not (torch.is_grad_enabled() and values.requires_grad):
            return F.embedding(chosen, codes)
        return passed(self.spec.gradient, values, codes, chosen)[0]

    @property
    def moves(self) -> bool:
        """Whether a step moves the averages."""
        return self.training and self.spec.update != "gradient"

    def pick(self, values: Tensor, refresh: bool = True) -> _Picked:
        """Choose codes for rows; in training, move the averages, and with `refresh` the codes."""
        self.start(values)
        codes = self.codes()
        chosen = nearest(values.detach(), codes.detach())
        output, square = passed(self.spec.gradient, values, codes.detach(), chosen)
        loss = self.spec.commitment * square
        if self.spec.update == "gradient":
            loss = loss + F.mse_loss(F.embedding(chosen, codes), values.detach())
        counts = torch.bincount(chosen, minlength=self.spec.codes)
        if self.moves:
            self.observe(values.detach(), chosen, counts)
            if refresh:
                self.refresh(values.detach())
        return _Picked(output, chosen, loss, counts)

    @torch.no_grad()
    def observe(self, values: Tensor, chosen: Tensor, counts: Tensor) -> None:
        """Move the averages towards the counts and sums of a batch."""
        counts = counts.to(values.dtype)
        sums = values.new_zeros(self.spec.codes, values.shape[1]).index_add_(0, chosen, values)
        if _shared_among_processes():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        decay = self.spec.decay
        self.cluster_size.copy_(decay * wide(self.cluster_size) + (1.0 - decay) * counts)
        if self.spec.update == "ema":
            self.embed_avg.copy_(decay * wide(self.embed_avg) + (1.0 - decay) * sums)
            return
        turned = self.scaled(decay * self.codes() + (1.0 - decay) * self.scaled(sums))
        self.codebook.copy_(torch.where(counts[:, None] > 0.0, turned, wide(self.codebook)))

    @torch.no_grad()
    def refresh(self, values: Tensor) -> None:
        """Read the codes from the averages, and restart the dead ones at some of the values."""
        if self.spec.update != "ema":
            return
        size = wide(self.cluster_size)
        total = size.sum()
        smoothed = (size + self.spec.eps) * (total / (total + self.spec.codes * self.spec.eps))
        self.codebook.copy_(self.scaled(wide(self.embed_avg) / smoothed[:, None]))
        if self.spec.dead_code_threshold > 0.0:
            self._restart(values)

    def _restart(self, values: Tensor) -> None:
        """Put dead codes on values that lie evenly over the batch, without a wait for a device."""
        threshold, count = self.spec.dead_code_threshold, len(values)
        dead = self.cluster_size < threshold
        rank, most = dead.cumsum(0) - 1, dead.sum().clamp(1, max(1, count))
        index = ((2 * rank + 1) * count // (2 * most)).clamp(0, count - 1)
        dead &= rank < most
        fresh = values[index].to(self.codebook.dtype)
        if _shared_among_processes():
            distributed.broadcast(dead, 0)
            distributed.broadcast(fresh, 0)
        self.codebook.copy_(torch.where(dead[:, None], fresh, self.codebook))
        self.embed_avg.copy_(torch.where(dead[:, None], fresh * threshold, self.embed_avg))
        self.cluster_size.masked_fill_(dead, threshold)

    def start(self, values: Tensor) -> None:
        """Run k-means at the first training step, where the spec asks for it."""
        iterations = self.spec.kmeans_iterations
        if self.training and iterations and self.initialised.item() < 0.5:
            self.fit_codes(values, iterations)

    def initialise_codebook(
        self, x: Tensor, iterations: int = 10, mask: Tensor | None = None
    ) -> None:
        """Set the codebook by k-means on a batch of inputs of this block; see inference.codebook.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        self.fit_codes(self.scaled(Rows(x, mask).values), iterations)

    @torch.no_grad()
    def fit_codes(self, values: Tensor, iterations: int) -> None:
        """Set codes and averages by k-means; a code without values gets the weight of one."""
        centres, counts = kmeans(
            values.detach().cpu().numpy(), self.spec.codes, iterations, self.spec.cosine
        )
        codes, weight = (torch.from_numpy(array).to(self.codebook) for array in (centres, counts))
        if _shared_among_processes():
            distributed.broadcast(codes, 0)
            distributed.broadcast(weight, 0)
        self.codebook.copy_(codes)
        if self.spec.update != "gradient":
            self.cluster_size.copy_(weight.clamp_min(1.0))
        if self.spec.update == "ema":
            self.embed_avg.copy_(codes * self.cluster_size[:, None])
        if self.spec.kmeans_iterations:
            self.initialised.fill_(1.0)


class ResidualVq(Quantizer[ResidualVqSpec], kind="residual_vq"):
    """Levels of codebooks, each for what the ones before have left."""

    levels: nn.ModuleDict

    def level(self, index: int) -> VectorQuantizer:
        """The quantiser of a level; with a shared codebook, always the same."""
        level: VectorQuantizer = self.levels["0" if self.spec.shared else str(index)]  # type: ignore[assignment]
        return level

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantise level by level; in training, move the codebooks. See Quantizer."""
        rows = Rows(x, mask)
        residual, picked, scaled = rows.values, [], []
        for index in range(self.spec.levels):
            level = self.level(index)
            scaled.append(level.scaled(residual))
            picked.append(level.pick(scaled[-1], refresh=not self.spec.shared))
            residual = residual - picked[-1].output.detach()
        if self.spec.shared and self.level(0).moves:
            self.level(0).refresh(torch.stack(scaled, 1).detach().flatten(0, 1))
        outputs, chosen, losses, counts = zip(*picked, strict=True)
        loss = torch.stack(losses).sum()
        indices = torch.stack([rows.indices(codes) for codes in chosen], 1)
        spread = spread_of(torch.stack(counts).to(loss.dtype))
        return Quantized(rows.signal(sum(outputs)), indices, loss, *spread)

    def lookup(self, values: Tensor) -> Tensor:
        """The sum of the codes of rows; every level passes the gradient on."""
        residual, total = values, torch.zeros_like(values)
        for index in range(self.spec.levels):
            output = self.level(index).lookup(residual)
            residual, total = residual - output.detach(), total + output
        return total

    @torch.no_grad()
    def initialise_codebook(
        self, x: Tensor, iterations: int = 10, mask: Tensor | None = None
    ) -> None:
        """Set the codebooks level by level, each by k-means on what the ones before leave.

        A shared codebook is set by the values of the first level.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        residual = Rows(x, mask).values
        for index in range(1 if self.spec.shared else self.spec.levels):
            level = self.level(index)
            values = level.scaled(residual)
            level.fit_codes(values, iterations)
            residual = residual - level.lookup(residual)
