"""Hidden semi-Markov models: likelihoods, posteriors, segmentations, samples and fitting by EM.

The functions take a model of kind `hsmm` from `tcnzoo.create` or `tcnzoo.load`, in any backend, and
numpy arrays (batch, channels, time). Sequences of a batch may differ in length and have gaps:

    lengths: (batch,) steps of each sequence, 1 .. time; None for all of them.
    mask: (batch, time), true where there is an observation; None for everywhere. Time goes on where
        there is none, and what x holds there (NaN, too) is not read.

Formulas, names and the meaning of start and end: `tcnzoo.specs.HsmmSpec`.
"""

from tcnzoo.inference.hsmm.calls import (
    Filtered,
    Path,
    Posteriors,
    Segment,
    filter,
    log_likelihood,
    mean_durations,
    posteriors,
    segments,
    viterbi,
)
from tcnzoo.inference.hsmm.em import Fit, fit_em
from tcnzoo.inference.hsmm.hdp_em import HdpFit, fit_hdp
from tcnzoo.inference.hsmm.initial import from_data
from tcnzoo.inference.hsmm.sampling import Sample, sample_posterior, sample_prior

__all__ = [
    "Filtered",
    "Fit",
    "HdpFit",
    "Path",
    "Posteriors",
    "Sample",
    "Segment",
    "filter",
    "fit_em",
    "fit_hdp",
    "from_data",
    "log_likelihood",
    "mean_durations",
    "posteriors",
    "sample_posterior",
    "sample_prior",
    "segments",
    "viterbi",
]
