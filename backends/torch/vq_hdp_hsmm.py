"""Codes, clusters and lasting states of sensor signals; see VqHdpHsmmSpec."""

from typing import Any

import torch
from torch import Tensor

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

    def forward(self, x: Tensor, stream: Stream | None = None) -> dict[str, Tensor]:
        """(batch, channels[, devices], time) -> the outputs by name."""
        quantized = self.vq.quantize(self.projection(self.encoder(x)))
        codes, output = quantized.indices, quantized.output
        seen_by_states = output.detach() if self.spec.detach else output
        evidence = self._evidence(codes, seen_by_states)
        clusters = self.hdp.posterior(evidence)
        outputs = {
            "reconstructed": self.decoder(output),
            "codes": codes.int(),
            "vq_loss": quantized.vq_loss,
            "perplexity": quantized.perplexity,
            "cluster_posterior": clusters.to(output.dtype),
            **self._states(self._seen(codes, seen_by_states, evidence)),
            "behavior_logits": self.classifier(output),
            "hdp_penalty": self._penalty(),
            "hdp_loss": self.hdp.loss(evidence),
            "entropy": entropy(clusters),
        }
        outputs["hsmm_loss"] = -outputs["log_likelihood"].mean() / x.shape[-1]
        left_out = OF_EVALUATION if self.training else ()
        return {name: outputs[name] for name in self.spec.output_names if name not in left_out}

    def _evidence(self, codes: Tensor, output: Tensor) -> Tensor:
        """What each cluster thinks of each step, (batch, clusters, time)."""
        if self.spec.hdp.components == "codes":
            return wide(self.hdp.code_logits).log_softmax(dim=1)[:, codes].transpose(0, 1)
        return self.hdp.evidence(output)

    def _seen(self, codes: Tensor, output: Tensor, evidence: Tensor) -> Tensor:
        """What the hsmm takes."""
        emission = self.spec.hsmm.emission
        if emission == "categorical":
            return codes.unsqueeze(1).to(evidence.dtype)
        return evidence if emission == "none" else output

    def _penalty(self) -> Tensor:
        """MAP penalty of the sticks, the transition rows and the initial probabilities."""
        initial = wide(self.hsmm.initial_logits).log_softmax(dim=0)
        rows = self.hsmm.laws().transitions.to(initial)
        return self.hdp.penalty(rows, initial)

    def _states(self, seen: Tensor) -> dict[str, Tensor]:
        """Likelihood of the hsmm; in evaluation also posteriors, path and durations."""
        likelihood = {"log_likelihood": self.hsmm.log_likelihood(seen).to(wide(seen).dtype)}
        if self.training:
            return likelihood
        with torch.no_grad():
            posterior = self.hsmm.posterior(seen)
            means = self.hsmm.laws().survival.exp().sum(dim=1).to(posterior)
            return likelihood | {
                "state_posterior": posterior,
                "state_path": self.hsmm.viterbi(seen)[0].int(),
                "expected_duration": torch.einsum("nkt,k->nt", posterior, means),
            }
