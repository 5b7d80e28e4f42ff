"""Codes, clusters and lasting states of sensor signals; see VqHdpHsmmSpec."""

from typing import Any

import numpy as np
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs.vq_hdp_hsmm import OF_EVALUATION

from .block import Block, Tensor
from .hdp import entropy
from .types import wide


class VqHdpHsmm(Block, kind="vq_hdp_hsmm"):
    """encoder -> projection -> vq -> decoder, classifier, hdp -> hsmm."""

    def call(
        self, x: Tensor, stream: Stream | None = None, training: bool | None = None
    ) -> dict[str, Tensor]:
        """(batch, [devices, ]time, channels) -> the outputs by name."""
        parts = self.parts
        z = parts["projection"](parts["encoder"](x))
        quantized = parts["vq"].quantized(z, training=bool(training))
        output = ops.stop_gradient(quantized.output) if self.spec.detach else quantized.output
        evidence = self._evidence(quantized.indices, output)
        clusters = parts["hdp"].posterior(evidence)
        found = {
            "reconstructed": parts["decoder"](quantized.output),
            "codes": ops.cast(quantized.indices, "int32"),
            "vq_loss": quantized.vq_loss,
            "perplexity": quantized.perplexity,
            "cluster_posterior": ops.cast(clusters, output.dtype),
            **self._states(self._seen(quantized.indices, output, evidence), bool(training)),
            "behavior_logits": parts["classifier"](quantized.output),
            "hdp_penalty": self._penalty(),
            "hdp_loss": parts["hdp"].loss(evidence),
            "entropy": entropy(clusters),
        }
        steps = ops.cast(ops.shape(x)[-2], found["log_likelihood"].dtype)
        found["hsmm_loss"] = -ops.mean(found["log_likelihood"]) / steps
        left_out = OF_EVALUATION if training else ()
        return {name: found[name] for name in self.spec.output_names if name not in left_out}

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shapes of the outputs by name, time None where that is not known."""
        batch, *axes, channels = x_shape
        known = [channels, *(1 if one is None else one for one in axes)]
        shapes: dict[str, Any] = dict.fromkeys(self.spec.output_names, ())
        for name, (*first, last) in (
            (name, shape or (0,)) for name, shape in self.spec.output_shapes(tuple(known)).items()
        ):
            signal = name != "behavior_logits" or bool(first)
            time = axes[-1] if signal else last
            shapes[name] = (batch, *first[1:], time, *first[:1])
        shapes["log_likelihood"] = (batch,)
        return shapes

    def _evidence(self, codes: Tensor, output: Tensor) -> Tensor:
        """What each cluster thinks of each step, (batch, time, clusters)."""
        hdp: Any = self.parts["hdp"]
        if self.spec.hdp.components == "codes":
            return ops.take(ops.log_softmax(wide(hdp.arrays["code_logits"]), axis=0), codes, axis=0)
        return hdp.evidence(output)

    def _seen(self, codes: Tensor, output: Tensor, evidence: Tensor) -> Tensor:
        """What the hsmm takes."""
        emission = self.spec.hsmm.emission
        if emission == "categorical":
            return ops.cast(ops.expand_dims(codes, -1), evidence.dtype)
        return evidence if emission == "none" else output

    def _penalty(self) -> Tensor:
        """MAP penalty of the sticks, the transition rows and the initial probabilities."""
        laws = self.parts["hsmm"].laws()
        return self.parts["hdp"].penalty(laws.transitions, laws.initial)

    def _states(self, seen: Tensor, training: bool) -> dict[str, Tensor]:
        """Likelihood of the hsmm; in evaluation also posteriors, path and durations."""
        hsmm: Any = self.parts["hsmm"]
        found = {"log_likelihood": hsmm.log_likelihood(seen)}
        if training:
            return found
        fixed = ops.stop_gradient(seen)
        posterior = ops.stop_gradient(hsmm.posterior(fixed))
        durations = ops.exp(hsmm.laws().durations)
        steps = np.arange(1, self.spec.hsmm.max_duration + 1).astype("float32")
        means = ops.matmul(durations, ops.cast(steps, durations.dtype))
        return found | {
            "state_posterior": posterior,
            "state_path": ops.stop_gradient(hsmm.viterbi(fixed)[0]),
            "expected_duration": ops.stop_gradient(ops.matmul(posterior, means)),
        }
