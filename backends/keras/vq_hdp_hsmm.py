"""Codes, clusters and lasting states of sensor signals; see VqHdpHsmmSpec."""

from typing import Any

import numpy as np
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import VqHdpHsmmSpec
from tcnzoo.specs.vq_hdp_hsmm import OF_EVALUATION

from .block import Block, Tensor
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

    def call(
        self, x: Tensor, stream: Stream | None = None, training: bool | None = None
    ) -> dict[str, Tensor]:
        """(batch, [devices, ]time, channels) -> the outputs by name."""
        quantized = self.vq.quantized(self.projection(self.encoder(x)), training=bool(training))
        codes = quantized.indices
        output = ops.stop_gradient(quantized.output) if self.spec.detach else quantized.output
        if self.spec.hdp.components == "codes":
            log_codes = ops.log_softmax(wide(self.hdp.arrays["code_logits"]), axis=0)
            evidence = ops.take(log_codes, codes, axis=0)
        else:
            evidence = self.hdp.evidence(output)
        clusters = self.hdp.posterior(evidence)
        emission = self.spec.hsmm.emission
        if emission == "categorical":
            observed = ops.cast(ops.expand_dims(codes, -1), evidence.dtype)
        else:
            observed = evidence if emission == "none" else output
        laws = self.hsmm.laws()
        outputs = {
            "reconstructed": self.decoder(quantized.output),
            "codes": ops.cast(codes, "int32"),
            "vq_loss": quantized.vq_loss,
            "perplexity": quantized.perplexity,
            "cluster_posterior": ops.cast(clusters, output.dtype),
            "log_likelihood": self.hsmm.log_likelihood(observed),
            **({} if training else self._states(observed)),
            "behavior_logits": self.classifier(quantized.output),
            "hdp_penalty": self.hdp.penalty(laws.transitions, laws.initial),
            "hdp_loss": self.hdp.loss(evidence),
            "entropy": entropy(clusters),
        }
        steps = ops.cast(ops.shape(x)[-2], outputs["log_likelihood"].dtype)
        outputs["hsmm_loss"] = -ops.mean(outputs["log_likelihood"]) / steps
        left_out = OF_EVALUATION if training else ()
        return {name: outputs[name] for name in self.spec.output_names if name not in left_out}

    def _states(self, observed: Tensor) -> dict[str, Tensor]:
        """Posteriors, path and durations of the hsmm, without gradient."""
        fixed = ops.stop_gradient(observed)
        posterior = ops.stop_gradient(self.hsmm.posterior(fixed))
        durations = ops.exp(self.hsmm.laws().durations)
        steps = np.arange(1, self.spec.hsmm.max_duration + 1).astype("float32")
        means = ops.matmul(durations, ops.cast(steps, durations.dtype))
        return {
            "state_posterior": posterior,
            "state_path": ops.stop_gradient(self.hsmm.viterbi(fixed)[0]),
            "expected_duration": ops.stop_gradient(ops.matmul(posterior, means)),
        }

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shapes of the outputs by name, time None where that is not known."""
        batch, *axes, channels = x_shape
        known = [channels, *(1 if axis is None else axis for axis in axes)]
        shapes: dict[str, Any] = dict.fromkeys(self.spec.output_names, ())
        for name, (*first, last) in (
            (name, shape or (0,)) for name, shape in self.spec.output_shapes(tuple(known)).items()
        ):
            signal = name != "behavior_logits" or bool(first)
            time = axes[-1] if signal else last
            shapes[name] = (batch, *first[1:], time, *first[:1])
        shapes["log_likelihood"] = (batch,)
        return shapes
