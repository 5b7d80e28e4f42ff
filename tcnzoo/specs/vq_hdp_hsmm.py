"""Behaviour from sensors: discrete codes, clusters of them, and states that last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError, SignalTooLong
from tcnzoo.specs.base import PROBE, ReceptiveField, Shape, Spec
from tcnzoo.specs.fsq import FsqSpec
from tcnzoo.specs.hdp import HdpSpec
from tcnzoo.specs.hsmm import HsmmSpec
from tcnzoo.specs.vector_quantizer import VectorQuantizerSpec

if TYPE_CHECKING:
    from tcnzoo.specs.base import AnySpec

# Those that training, which needs none of them, leaves out.
OF_EVALUATION = ("state_posterior", "state_path", "expected_duration")


class VqHdpHsmmSpec(Spec):
    """An autoencoder with a codebook, a mixture over its codes, and a semi-Markov model over time.

    z = projection(encoder(x)) is quantised to q, (batch, D, time); the decoder makes the signal of
    q, the classifier the behaviour. The mixture `hdp` says what each cluster thinks of every step
    of q (or of its code), and `hsmm` what goes on in time. The output is a dictionary:

        reconstructed       the shape of the input
        codes               (batch, time), integers
        vq_loss, perplexity scalars, of the quantiser
        cluster_posterior   (batch, clusters, time), each step by itself
        state_posterior     (batch, states, time), given the whole signal
        state_path          (batch, time), integers, the likeliest segmentation
        expected_duration   (batch, time), steps: mean of the states' mean durations, weighted with
                            state_posterior
        log_likelihood      (batch,), of what the hsmm sees
        behavior_logits     (batch, classes), or (batch, classes, time)
        hdp_penalty         scalar, see HdpSpec; of a whole data set, so a loss divides it by the
                            number of its signals
        hdp_loss            scalar, mean over signals and steps of -log sum over k of
                            beta_k exp evidence_k, nats a step: the mixture, each step by itself
        entropy             scalar, mean entropy of cluster_posterior over the steps, nats
        hsmm_loss           scalar, mean of -log_likelihood over signals and steps, nats a step

    In training `state_posterior`, `state_path` and `expected_duration` are left out; no gradient
    goes through them.

    What the hsmm sees follows from its emission: `none` the clusters' evidence, its states then
    being the clusters (the HDP-HSMM: components and rows share the global weights); `gaussian` and
    `neural` q; `categorical` the codes. In each case it has as many states as there are clusters,
    and its initial probabilities and transition rows have the `hdp` as their prior.

    Attributes:
        encoder: (channels[, devices], time) -> (width, time).
        projection: (width, time) -> (D, time).
        vq: `vector_quantizer` or `fsq`, of D channels.
        decoder: (D, time) -> the shape of the input; its last layer must be linear.
        hdp, hsmm: as above.
        classifier: (D, time) -> (classes,) or (classes, time).
        detach: keep gradients of `hdp` and `hsmm` from the encoder, whose features could otherwise
            be shrunk to a point to make their density grow without bound.
    Source:
        van den Oord et al. 2017, arXiv:1711.00937; Johnson & Willsky 2013, arXiv:1203.1365.
    """

    kind: Literal["vq_hdp_hsmm"] = "vq_hdp_hsmm"
    encoder: AnySpec
    projection: AnySpec
    vq: Annotated[VectorQuantizerSpec | FsqSpec, Field(discriminator="kind")]
    decoder: AnySpec
    hdp: HdpSpec
    hsmm: HsmmSpec
    classifier: AnySpec
    detach: bool = True

    @model_validator(mode="after")
    def _widths_match(self) -> Self:
        wanted = {
            "hdp.channels": (self.hdp.channels, self.vq.channels),
            "hdp.codes": (self.hdp.codes, self.vq.codes),
            "hsmm.channels": (self.hsmm.channels, self.vq.channels),
            "hsmm.codes": (self.hsmm.codes, self.vq.codes),
            "hsmm.states": (self.hsmm.states, self.hdp.clusters),
        }
        for name, (given, needed) in wanted.items():
            if given is not None and given != needed:
                raise ValueError(f"{name} must be {needed} as the other parts say, but is {given}")
        if self.hsmm.encoding != "index":
            raise ValueError("hsmm.encoding must be 'index' here, but is 'one_hot'")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for name, part in self.children().items():
            if part.embedding_specs or part.output_names:
                raise ValueError(f"{name} must have one input and one output, but is {part.kind}")
        try:
            try:
                self.shapes(self.signal_shape(PROBE))
            except SignalTooLong:
                self.shapes(self.signal_shape(self.min_length()))
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def children(self) -> dict[str, Spec]:
        """`encoder`, `projection`, `vq`, `decoder`, `hdp`, `hsmm`, `classifier`."""
        names = ("encoder", "projection", "vq", "decoder", "hdp", "hsmm", "classifier")
        return {name: getattr(self, name) for name in names}

    def map(self, change: Callable[[Spec], Spec]) -> Spec:
        """Each part, then the whole."""
        parts = {name: part.map(change) for name, part in self.children().items()}
        return change(VqHdpHsmmSpec.model_validate({**parts, "detach": self.detach}))

    def check_dtype(self, dtype: str, path: str = "") -> None:
        """Its codes are integers of any size."""

    @property
    def channel_multiple(self) -> int:
        """That of the encoder."""
        return self.encoder.channel_multiple

    @property
    def input_channels(self) -> int | None:
        """Those of the encoder."""
        return self.encoder.input_channels

    @property
    def signal_rank(self) -> int:
        """That of the encoder."""
        return self.encoder.signal_rank

    @property
    def input_devices(self) -> int | None:
        """Those of the encoder."""
        return self.encoder.input_devices

    def shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shape after each part.

        Raises:
            InputError: a part that does not take what comes, or a decoder that does not give the
                shape of the input.
        """
        shapes: dict[str, Shape] = {}
        for name, part in self.children().items():
            before = {"encoder": input_shape, "projection": shapes.get("encoder", ())}
            shape = before.get(name, shapes.get("projection", ()))
            if name in ("hdp", "hsmm"):
                shapes[name] = (self.hdp.clusters, shape[1])
                continue
            try:
                shapes[name] = part.output_shape(shape)
            except InputError as error:
                raise type(error)(f"{name}: {error}") from None
            if name == "projection" and shapes[name] != (self.vq.channels, input_shape[-1]):
                raise InputError(
                    f"encoder and projection must give (batch, {self.vq.channels}, "
                    f"{input_shape[-1]}), one vector a step, but give {('batch', *shapes[name])}"
                )
        if shapes["decoder"] != input_shape:
            raise InputError(
                f"the decoder must give the shape of the input {input_shape}, "
                f"but gives {shapes['decoder']}"
            )
        return shapes

    @property
    def output_names(self) -> tuple[str, ...]:
        """As above."""
        return (
            "reconstructed", "codes", "vq_loss", "perplexity", "cluster_posterior",
            "state_posterior", "state_path", "expected_duration", "log_likelihood",
            "behavior_logits", "hdp_penalty", "hdp_loss", "entropy", "hsmm_loss",
        )  # fmt: skip

    @property
    def discrete_outputs(self) -> tuple[str, ...]:
        """Codes and states."""
        return "codes", "state_path"

    def output_shape(self, input_shape: Shape) -> Shape:
        """That of `reconstructed`."""
        return self.shapes(input_shape)["decoder"]

    def output_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Of every output that is not a scalar."""
        shapes, steps = self.shapes(input_shape), input_shape[-1:]
        return {
            "reconstructed": shapes["decoder"],
            "codes": steps,
            "cluster_posterior": shapes["hdp"],
            "state_posterior": shapes["hsmm"],
            "state_path": steps,
            "expected_duration": steps,
            "log_likelihood": (),
            "behavior_logits": shapes["classifier"],
        }

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the parts."""
        shapes = self.shapes(input_shape)
        before = {"encoder": input_shape, "projection": shapes["encoder"], "hsmm": shapes["hsmm"]}
        return sum(
            part.macs_of(before.get(name, shapes["projection"]))
            for name, part in self.children().items()
        )

    def field(self) -> ReceptiveField:
        """From the input to the reconstruction."""
        field = self.encoder.field().then(self.projection.field())
        return field.then(self.decoder.field())

    @property
    def pools_all(self) -> bool:
        """Always: the states are told from the whole signal."""
        return True

    def own_streaming_blocker(self) -> str | None:
        """Segments are told from the whole signal."""
        return (
            "its states are told from the whole signal, so it cannot stream; stream the encoder, "
            "and an hsmm with 'output: filtered'"
        )
