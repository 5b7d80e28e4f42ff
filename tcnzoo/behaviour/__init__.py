"""Behaviour from sensors: signals with known bouts, segments of a recording, scores and pictures.

The models are `vq_hdp_hsmm` and `hsmm`; see `tcnzoo.specs` and `tcnzoo.hsmm`.
"""

from tcnzoo.behaviour.scores import (
    Match,
    active,
    code_usage,
    durations,
    matched,
    persistence,
    psnr,
    silhouette,
)
from tcnzoo.behaviour.segmenting import Labelled, Segmentation, segment, write_segments
from tcnzoo.training.data.simulator import ACTIVITIES, Recording, simulate

__all__ = [
    "ACTIVITIES",
    "Labelled",
    "Match",
    "Recording",
    "Segmentation",
    "active",
    "code_usage",
    "durations",
    "matched",
    "persistence",
    "psnr",
    "segment",
    "silhouette",
    "simulate",
    "write_segments",
]
