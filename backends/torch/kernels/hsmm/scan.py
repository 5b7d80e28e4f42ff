"""The recursions over a batch in torch, on any device: a loop over time, all sequences at once.

As in `inference.hsmm.recursion`: `history` column s + D - 1 holds the log weight of a segment that
starts at s, less the sum of its state's scores before s, so that a window of it is contiguous.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.specs.hsmm import NEVER

from .laws import Laws, solid

BLOCK = 64  # steps whose segments are counted at once


class Ends(NamedTuple):
    """How sequences begin and end.

    Attributes:
        lengths: (batch,), steps of each sequence, on the scores' device.
        stationary: they begin in the midst of a segment.
        censored: their last segment may go on.
    """

    lengths: Tensor
    stationary: bool
    censored: bool


class Passed(NamedTuple):
    """What a forward pass leaves; see `tcnzoo.inference.hsmm.recursion.Forward`."""

    total: Tensor
    history: Tensor
    ended: Tensor
    log_likelihood: Tensor
    taken: Tensor


class Counts(NamedTuple):
    """What is expected of each sequence; see `tcnzoo.inference.hsmm.recursion.Expected`."""

    posterior: Tensor
    transitions: Tensor
    durations: Tensor
    censored: Tensor


def plain(scores: Tensor, laws: Laws, ends: Ends) -> Tensor:
    """Log-likelihoods (batch,) by operations that torch can differentiate as often as wanted."""
    alive, ended = plain_passes(scores, laws, ends)
    return at(alive if ends.censored else ended, ends.lengths - 1)[:, :, 0].logsumexp(1)


def plain_passes(scores: Tensor, laws: Laws, ends: Ends) -> tuple[Tensor, Tensor]:
    """Log weight of a segment under way, and of one that ends, after each step, (batch, K, time).

    This is the recursion of HsmmSpec, as it stands there, with numbers so low for -inf that their
    powers are 0: -inf would make gradients NaN.
    """
    reach, laws = laws.durations.shape[1], Laws(*(solid(one) for one in laws))
    scores = solid(scores)
    ages = laws.first[:, None].expand(len(scores), -1, reach)
    if not ends.stationary:
        ages = F.pad(ages[:, :, :1], (0, reach - 1), value=NEVER)
    alive: list[Tensor] = []
    ended: list[Tensor] = []
    for t in range(scores.shape[2]):
        if t > 0:
            started = torch.logsumexp(ended[-1][:, :, None] + laws.transitions, 1)
            ages = torch.cat([started[:, :, None], ages[:, :, :-1]], dim=2)
        ages = ages + scores[:, :, t, None]
        alive.append(torch.logsumexp(ages + laws.survival, 2))
        ended.append(torch.logsumexp(ages + laws.durations, 2))
    return torch.stack(alive, 2), torch.stack(ended, 2)


def forward(scores: Tensor, laws: Laws, ends: Ends) -> Passed:
    """Weigh every start and end of a segment by what came before; scores (batch, K, time)."""
    (batch, states, steps), reach = scores.shape, laws.durations.shape[1]
    scores, least = finite(scores, laws)
    best = scores.amax(1, keepdim=True)
    total = F.pad((scores - best).cumsum(2), (1, 0))
    history = scores.new_full((batch, states, reach + steps), -torch.inf)
    history[:, :, 0 if ends.stationary else reach - 1 : reach] = laws.first[:, None]
    ended = scores.new_full((batch, states, steps + 1), -torch.inf)
    backwards = laws.durations.flip(1)
    for t in range(1, steps + 1):
        starts = history[:, :, t - 1 : t - 1 + reach] + backwards
        over = torch.logsumexp(starts, 2) + total[:, :, t]
        ended[:, :, t] = over
        started = torch.logsumexp(over[:, :, None] + laws.transitions, 1)
        history[:, :, t - 1 + reach] = started - total[:, :, t]
    last = _last(laws, total, history, ends)
    value = torch.logsumexp(last.flatten(1), 1)
    counted = torch.arange(steps, device=scores.device) < ends.lengths[:, None]
    value = value.masked_fill(value <= least, -torch.inf)
    return Passed(total, history, ended, value, (best[:, 0] * counted).sum(1))


def finite(scores: Tensor, laws: Laws) -> tuple[Tensor, Tensor]:
    """Scores without -inf, and the log-likelihoods that are none; as in `inference`."""
    never = scores == -torch.inf
    if not bool(never.any()):
        return scores, scores.new_full((len(scores),), -torch.inf)
    best = scores.amax(1)
    best = best.masked_fill(best == -torch.inf, 0.0)
    worst = torch.where(never, best[:, None], scores).amin(1)
    span = sum(-one.masked_fill(one == -torch.inf, 0.0).amin() for one in laws)
    least = -(best - worst).sum(1) - span * (scores.shape[2] + 1) - 1.0
    scores = torch.where(never, (best + least[:, None] - 100.0)[:, None], scores)
    return scores, least.masked_fill(never.all(1).any(1), torch.inf)


def _last(laws: Laws, total: Tensor, history: Tensor, ends: Ends) -> Tensor:
    """Log weight of a last segment by state and age, (batch, K, D), oldest first."""
    law = (laws.survival if ends.censored else laws.durations).flip(1)
    (batch, states, _), reach = history.shape, law.shape[1]
    places = ends.lengths[:, None] - 1 + torch.arange(reach, device=history.device)
    window = history.gather(2, places[:, None].expand(batch, states, reach))
    return window + law + at(total, ends.lengths)


def at(x: Tensor, places: Tensor) -> Tensor:
    """Values of (batch, K, time) at one place of each sequence, (batch, K, 1)."""
    return x.gather(2, places[:, None, None].expand(-1, x.shape[1], 1))


def alive(laws: Laws, passed: Passed) -> Tensor:
    """Log weight of a segment of each state under way after each step, (batch, K, time)."""
    reach, backwards = laws.survival.shape[1], laws.survival.flip(1)
    steps = passed.total.shape[2] - 1
    rows = [
        torch.logsumexp(passed.history[:, :, t - 1 : t - 1 + reach] + backwards, 2)
        for t in range(1, steps + 1)
    ]
    return torch.stack(rows, 2) + passed.total[:, :, 1:]


def expected(laws: Laws, passed: Passed, ends: Ends) -> Counts:
    """One backward pass, from the end of every sequence: column n - 1 is n steps before it."""
    reach = laws.durations.shape[1]
    batch, states, width = passed.total.shape
    steps = width - 1
    span = steps + (reach - 1 if ends.stationary else 0)
    back = ends.lengths[:, None] - torch.arange(1, span + 1, device=passed.total.device)
    total = _picked(passed.total, back.clamp(min=0))
    begun = _picked(passed.history, (back + reach - 1).clamp(min=0))
    begun = begun.masked_fill((back < (1 - reach if ends.stationary else 0))[:, None], -torch.inf)
    begun = begun - passed.log_likelihood[:, None, None]
    ended = _picked(passed.ended, back.clamp(min=0)).masked_fill((back < 1)[:, None], -torch.inf)
    ended = ended - passed.log_likelihood[:, None, None]
    whole = at(passed.total, ends.lengths)[:, :, 0]
    ahead = whole.new_full((batch, states, span + reach), -torch.inf)
    if not ends.censored:
        ahead[:, :, reach - 1] = whole
    law = laws.durations.flip(1)
    onward, after = torch.empty_like(total), torch.empty_like(total)
    early = (back < 1)[:, None]
    for n in range(1, span + 1):
        value = torch.logsumexp(ahead[:, :, n - 1 : n - 1 + reach] + law, 2)
        if ends.censored and n <= reach:
            value = torch.logaddexp(value, laws.survival[:, n - 1] + whole)
        onward[:, :, n - 1] = value
        value = value - total[:, :, n - 1]
        then = torch.logsumexp(laws.transitions + value[:, None], 2)
        after[:, :, n - 1] = then
        kept = (total[:, :, n - 1] + then).masked_fill(early[:, :, n - 1], -torch.inf)
        ahead[:, :, n - 1 + reach] = kept
    flow = (begun + onward).exp() - (ended + after).masked_fill(early, -torch.inf).exp()
    posterior = _summed(flow, back, steps, ends)
    later = (onward - total).masked_fill(early, -torch.inf)
    transitions, durations = _counts(laws, begun, ended, later, ahead)
    censored = torch.zeros_like(durations)
    if ends.censored:
        last = _last(laws, passed.total, passed.history, ends).flip(2)
        censored = (last - passed.log_likelihood[:, None, None]).exp()
    return Counts(posterior, transitions, durations, censored)


def _picked(x: Tensor, places: Tensor) -> Tensor:
    """Columns of (batch, K, time) in an order of their own for each sequence."""
    return x.gather(2, places[:, None].expand(-1, x.shape[1], -1))


def _summed(flow: Tensor, back: Tensor, steps: int, ends: Ends) -> Tensor:
    """Posterior (batch, K, time) from starts less ends, which count from the end."""
    ordered = flow.new_zeros((*flow.shape[:2], steps))
    known = torch.where((back > -steps)[:, None], flow, 0.0)
    ordered.scatter_add_(2, back.clamp(0, steps - 1)[:, None].expand(-1, flow.shape[1], -1), known)
    posterior = ordered.cumsum(2).clamp(0.0, 1.0)
    posterior = posterior / posterior.sum(1, keepdim=True).clamp(min=1e-30)
    counted = torch.arange(steps, device=flow.device) < ends.lengths[:, None]
    return posterior * counted[:, None]


def _counts(
    laws: Laws, begun: Tensor, ended: Tensor, later: Tensor, ahead: Tensor
) -> tuple[Tensor, Tensor]:
    """Expected changes (batch, K, K) and durations (batch, K, D), some steps at a time."""
    reach, law = laws.durations.shape[1], laws.durations.flip(1)
    windows = ahead.unfold(2, reach, 1)
    transitions: Tensor = torch.zeros((), dtype=begun.dtype, device=begun.device)
    durations = transitions
    for low in range(0, begun.shape[2], BLOCK):
        at = slice(low, low + BLOCK)
        pairs = ended[:, :, None, at] + laws.transitions[:, :, None] + later[:, None, :, at]
        transitions = transitions + pairs.exp().sum(3)
        size = begun[:, :, at].shape[2]
        lasting = windows[:, :, low : low + size] + law[:, None]
        durations = durations + (begun[:, :, at, None] + lasting).exp().sum(2)
    return transitions, durations.flip(2)
