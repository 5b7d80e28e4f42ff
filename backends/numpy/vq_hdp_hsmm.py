"""Codes, clusters and lasting states of sensor signals; see VqHdpHsmmSpec."""

from typing import Any

import numpy as np

from tcnzoo.inference.hsmm import batch, inference
from tcnzoo.models.outputs import Quantized
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import VqHdpHsmmSpec

from .activation import log_softmax
from .block import Array, Block
from .fsq import Fsq
from .hdp import Hdp, entropy
from .hsmm import Hsmm
from .vector_quantizer import VectorQuantizer

# Taken off a score to bar a state: more than any path gains, and no loss of digits in sums.
BAR = 1e6


class VqHdpHsmm(Block[VqHdpHsmmSpec], kind="vq_hdp_hsmm"):
    """encoder -> projection -> vq -> decoder, classifier, hdp -> hsmm."""

    encoder: Block[Any]
    projection: Block[Any]
    vq: VectorQuantizer | Fsq
    decoder: Block[Any]
    hdp: Hdp
    hsmm: Hsmm
    classifier: Block[Any]

    def forward(self, x: Array, stream: Stream | None = None) -> dict[str, Array]:
        """(batch, channels[, devices], time) -> the outputs by name."""
        quantized = self.vq.quantize(self.features(x))
        evidence = self._evidence(quantized)
        clusters = self.hdp.posterior(evidence)
        tables = self.hsmm.tables
        penalty = self.hdp.penalty(tables.transitions, tables.initial)
        outputs = {
            "reconstructed": self.decoder(quantized.output),
            "codes": quantized.indices.astype(np.int32),
            "vq_loss": np.asarray(quantized.vq_loss),
            "perplexity": np.asarray(quantized.perplexity),
            "cluster_posterior": clusters,
            **self._states(self._emissions(quantized, evidence)),
            "behavior_logits": self.classifier(quantized.output),
            "hdp_penalty": np.asarray(penalty),
            "hdp_loss": np.asarray(self.hdp.loss(evidence)),
            "entropy": np.asarray(entropy(clusters)),
        }
        outputs["hsmm_loss"] = -outputs["log_likelihood"].mean() / x.shape[-1]
        return {name: np.asarray(outputs[name]) for name in self.spec.output_names}

    def features(self, x: Array) -> Array:
        """What is quantised, (batch, D, time)."""
        z: Array = self.projection(self.encoder(x))
        return z

    def _evidence(self, quantized: Quantized) -> Array:
        """Log-likelihood of each step under each cluster, (batch, clusters, time)."""
        if self.spec.hdp.components == "codes":
            table = log_softmax(self.hdp.arrays["code_logits"])
            return np.moveaxis(table[:, quantized.indices], 0, 1)
        return self.hdp.evidence(quantized.output)

    def _emissions(self, quantized: Quantized, evidence: Array) -> Array:
        """What the hsmm takes: codes, evidence of clusters, or quantised features."""
        if self.spec.hsmm.emission == "categorical":
            return np.asarray(quantized.indices[:, None].astype(evidence.dtype))
        return evidence if self.spec.hsmm.emission == "none" else quantized.output

    def _states(self, emissions: Array) -> dict[str, Array]:
        """Posteriors, path, durations and likelihood of the hsmm."""
        tables, scores = self.hsmm.tables, self.hsmm.scores(emissions)
        lengths = np.full(len(scores), scores.shape[2])
        inferred = batch.run(tables, "posteriors", scores, lengths)
        means = np.exp(tables.log_mean)
        return {
            "state_posterior": inferred["posterior"].astype(emissions.dtype),
            "state_path": batch.run(tables, "viterbi", scores, lengths)["path"].astype(np.int32),
            "expected_duration": np.einsum("nkt,k->nt", inferred["posterior"], means),
            "log_likelihood": inferred["log_likelihood"],
        }

    def gaps(self, x: Array) -> dict[str, Array]:
        """How clear each choice is: what the second best one lacks, relative to the best score.

        Returns:
            `codes` and `state_path`, each (batch, time). The first is in units of half a squared
            distance; the second the log-probability that the best segmentation with another state
            at this step lacks.
        """
        z = self.features(np.asarray(x, dtype=self.tcnzoo.dtype))
        quantized = self.vq.quantize(z)
        emissions = self._emissions(quantized, self._evidence(quantized))
        return {"codes": self._code_gaps(z), "state_path": self._path_gaps(emissions)}

    def _code_gaps(self, z: Array) -> Array:
        """Gaps between the two nearest codes, or to the next rounding."""
        vq, last = self.vq, np.moveaxis(z, 1, -1)
        if isinstance(vq, Fsq):
            half, offset, shift = np.array(vq.spec.bounds).T[:3]
            bounded = np.tanh(last + shift) * half - offset
            return np.asarray((0.5 - np.abs(bounded - np.round(bounded))).min(axis=-1))
        codes = vq.codes()
        values = last / np.linalg.norm(last, axis=-1, keepdims=True) if vq.spec.cosine else last
        scores = np.square(codes).sum(axis=1) / 2.0 - values @ codes.T
        two = np.partition(scores, 1, axis=-1)
        return np.asarray((two[..., 1] - two[..., 0]) / np.maximum(1.0, np.abs(scores).max()))

    def _path_gaps(self, emissions: Array) -> Array:
        """Gaps to the best segmentation that has another state at a step."""
        tables, gaps = self.hsmm.tables, []
        for scores in self.hsmm.scores(emissions):
            path, best = inference.viterbi(tables, scores)
            others = []
            for step, state in enumerate(path):
                barred = scores.copy()
                barred[state, step] -= BAR
                others.append(inference.viterbi(tables, barred)[1])
            gaps.append((best - np.array(others)) / max(1.0, abs(best)))
        return np.array(gaps)
