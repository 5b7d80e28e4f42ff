"""Codes, clusters and lasting states of sensor signals; see VqHdpHsmmSpec."""

from typing import Any

import numpy as np

from tcnzoo.inference.hsmm import batch, inference
from tcnzoo.models.streaming import Stream

from .activation import log_softmax
from .block import Array, Block
from .hdp import entropy

# Taken off a score to bar a state: more than any path gains, and no loss of digits in sums.
BAR = 1e6


class VqHdpHsmm(Block, kind="vq_hdp_hsmm"):
    """encoder -> projection -> vq -> decoder, classifier, hdp -> hsmm."""

    parts: dict[str, Any]

    def forward(self, x: Array, stream: Stream | None = None) -> dict[str, Array]:
        """(batch, channels[, devices], time) -> the outputs by name."""
        quantized = self.parts["vq"].quantize(self.features(x))
        codes, evidence = quantized.indices, self._evidence(quantized)
        clusters = self.parts["hdp"].posterior(evidence)
        found = {
            "reconstructed": self.parts["decoder"](quantized.output),
            "codes": codes.astype(np.int32),
            "vq_loss": np.asarray(quantized.vq_loss),
            "perplexity": np.asarray(quantized.perplexity),
            "cluster_posterior": clusters,
            **self._states(self._seen(quantized, evidence)),
            "behavior_logits": self.parts["classifier"](quantized.output),
            "hdp_penalty": np.asarray(self._penalty()),
            "hdp_loss": np.asarray(self.parts["hdp"].loss(evidence)),
            "entropy": np.asarray(entropy(clusters)),
        }
        found["hsmm_loss"] = -found["log_likelihood"].mean() / x.shape[-1]
        return {name: np.asarray(found[name]) for name in self.spec.output_names}

    def features(self, x: Array) -> Array:
        """What is quantised, (batch, D, time)."""
        z: Array = self.parts["projection"](self.parts["encoder"](x))
        return z

    def _evidence(self, quantized: Any) -> Array:
        """What each cluster thinks of each step, (batch, clusters, time)."""
        hdp = self.parts["hdp"]
        if self.spec.hdp.components == "codes":
            table = log_softmax(hdp.arrays["code_logits"])
            return np.moveaxis(table[:, quantized.indices], 0, 1)
        found: Array = hdp.evidence(quantized.output)
        return found

    def _seen(self, quantized: Any, evidence: Array) -> Array:
        """What the hsmm takes."""
        emission = self.spec.hsmm.emission
        if emission == "categorical":
            found: Array = quantized.indices[:, None].astype(evidence.dtype)
        else:
            found = evidence if emission == "none" else quantized.output
        return found

    def _penalty(self) -> float:
        """MAP penalty of the sticks, the transition rows and the initial probabilities."""
        tables = self.parts["hsmm"].tables
        found: float = self.parts["hdp"].penalty(tables.transitions, tables.initial)
        return found

    def _states(self, seen: Array) -> dict[str, Array]:
        """Posteriors, path, durations and likelihood of the hsmm."""
        tables, scores = self.parts["hsmm"].tables, self.parts["hsmm"].scores(seen)
        lengths = np.full(len(scores), scores.shape[2])
        found = batch.run(tables, "posteriors", scores, lengths)
        means = np.exp(tables.log_mean)
        return {
            "state_posterior": found["posterior"].astype(seen.dtype),
            "state_path": batch.run(tables, "viterbi", scores, lengths)["path"].astype(np.int32),
            "expected_duration": np.einsum("nkt,k->nt", found["posterior"], means),
            "log_likelihood": found["log_likelihood"],
        }

    def gaps(self, x: Array) -> dict[str, Array]:
        """How clear each choice is: what the second best one lacks, relative to the best score.

        Returns:
            `codes` and `state_path`, each (batch, time). The first is in units of half a squared
            distance; the second the log-probability that the best segmentation with another state
            at this step lacks.
        """
        z = self.features(np.asarray(x, dtype=self.tcnzoo.dtype))
        quantized = self.parts["vq"].quantize(z)
        seen = self._seen(quantized, self._evidence(quantized))
        return {"codes": self._code_gaps(z), "state_path": self._path_gaps(seen)}

    def _code_gaps(self, z: Array) -> Array:
        """Gaps between the two nearest codes, or to the next rounding."""
        vq, last = self.parts["vq"], np.moveaxis(z, 1, -1)
        if vq.spec.kind == "fsq":
            half, offset, shift = np.array([row[:3] for row in vq.spec.bounds]).T
            bounded = np.tanh(last + shift) * half - offset
            found: Array = (0.5 - np.abs(bounded - np.round(bounded))).min(axis=-1)
            return found
        codes = vq.codes()
        values = last / np.linalg.norm(last, axis=-1, keepdims=True) if vq.spec.cosine else last
        scores = np.square(codes).sum(axis=1) / 2.0 - values @ codes.T
        two = np.partition(scores, 1, axis=-1)
        gap: Array = (two[..., 1] - two[..., 0]) / np.maximum(1.0, np.abs(scores).max())
        return gap

    def _path_gaps(self, seen: Array) -> Array:
        """Gaps to the best segmentation that has another state at a step."""
        tables, gaps = self.parts["hsmm"].tables, []
        for row in self.parts["hsmm"].scores(seen):
            path, best = inference.viterbi(tables, row)
            others = []
            for step, state in enumerate(path):
                barred = row.copy()
                barred[state, step] -= BAR
                others.append(inference.viterbi(tables, barred)[1])
            gaps.append((best - np.array(others)) / max(1.0, abs(best)))
        return np.array(gaps)
