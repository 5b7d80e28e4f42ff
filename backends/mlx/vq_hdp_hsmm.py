"""Codes, clusters and lasting states of sensor signals; see VqHdpHsmmSpec."""

from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import VqHdpHsmmSpec
from tcnzoo.specs.vq_hdp_hsmm import OF_EVALUATION

from .block import Block
from .hdp import Hdp, entropy
from .hsmm import Hsmm
from .quantizer import Quantizer
from .types import wide


class VqHdpHsmm(Block[VqHdpHsmmSpec], kind="vq_hdp_hsmm"):
    """encoder -> projection -> vq -> decoder, classifier, hdp -> hsmm."""

    encoder: Block[Any]
    projection: Block[Any]
    vq: Quantizer[Any]
    decoder: Block[Any]
    hdp: Hdp
    hsmm: Hsmm
    classifier: Block[Any]

    def forward(self, x: mx.array, stream: Stream | None = None) -> dict[str, mx.array]:
        """(batch, [devices, ]time, channels) -> the outputs by name."""
        quantized = self.vq.quantize(self.projection(self.encoder(x)))
        output = mx.stop_gradient(quantized.output) if self.spec.detach else quantized.output
        evidence = self._evidence(quantized.indices, output)
        laws = self.hsmm.laws()
        clusters = self.hdp.posterior(evidence)
        outputs = {
            "reconstructed": self.decoder(quantized.output),
            "codes": quantized.indices.astype(mx.int32),
            "vq_loss": quantized.vq_loss,
            "perplexity": quantized.perplexity,
            "cluster_posterior": clusters.astype(output.dtype),
            **self._states(self._seen(quantized.indices, output, evidence)),
            "behavior_logits": self.classifier(quantized.output),
            "hdp_penalty": self.hdp.penalty(laws.transitions, laws.initial),
            "hdp_loss": self.hdp.loss(evidence),
            "entropy": entropy(clusters),
        }
        outputs["hsmm_loss"] = -outputs["log_likelihood"].mean() / x.shape[-2]
        left_out = OF_EVALUATION if self.training else ()
        return {name: outputs[name] for name in self.spec.output_names if name not in left_out}

    def _evidence(self, codes: mx.array, output: mx.array) -> mx.array:
        """What each cluster thinks of each step, (batch, time, clusters)."""
        if self.spec.hdp.components == "codes":
            table = wide(self.hdp["code_logits"])
            return (table - mx.logsumexp(table, axis=1, keepdims=True)).T[codes]
        return self.hdp.evidence(output)

    def _seen(self, codes: mx.array, output: mx.array, evidence: mx.array) -> mx.array:
        """What the hsmm takes."""
        emission = self.spec.hsmm.emission
        if emission == "categorical":
            return codes[..., None].astype(mx.float32)
        return evidence if emission == "none" else output

    def _states(self, seen: mx.array) -> dict[str, Any]:
        """Likelihood of the hsmm; in evaluation also posteriors, path and durations."""
        hsmm = self.hsmm
        outputs = {"log_likelihood": hsmm.log_likelihood(seen)}
        if self.training:
            return outputs
        fixed = mx.stop_gradient(seen)
        posterior = mx.stop_gradient(hsmm.posterior(fixed))
        durations = mx.exp(hsmm.laws().durations)
        means = durations @ mx.arange(1, durations.shape[1] + 1).astype(durations.dtype)
        return outputs | {
            "state_posterior": posterior,
            "state_path": mx.stop_gradient(hsmm.viterbi(fixed)[0]),
            "expected_duration": mx.stop_gradient(posterior @ means),
        }
