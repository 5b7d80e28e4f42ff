"""The native model: a keras.Model around the block of a spec."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tcnzoo.errors import InputError
from tcnzoo.models.backend import Handle
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

from .block import Tensor, build


@keras.saving.register_keras_serializable(package="tcnzoo")
class SpecModel(keras.Model):
    """A keras.Model of any spec, channels last: compile, fit, save and load as any other.

    A model with embeddings takes them as `model(x, embeddings=[...])`, or, where Keras passes one
    input (`fit`, `evaluate`, `predict`), as `{"x": x, "embeddings": [...]}`.
    """

    def __init__(self, spec: Spec, device: str | None = None, **options: Any) -> None:
        """Make all variables, as zeros.

        Args:
            spec: what the model is.
            device: `cpu`, `gpu`, `gpu:0`..., as keras.device takes it; None for Keras's default.
            options: Keras's `dtype`, `name` and `trainable`.
        """
        super().__init__(**options)
        self.tcnzoo = Handle(spec, "keras", self.variable_dtype, device)
        with self.on_device(), keras.name_scope(self.name):
            self.root = build(spec, owned=True, name=spec.kind, dtype=self.dtype_policy)
        self.predictor: Callable[..., Any] | None = None
        self.step_kinds: dict[tuple[int, ...], Any] = {}
        self.tasks: dict[str, Callable[..., Any]] = {}
        self.built = True

    def on_device(self) -> contextlib.AbstractContextManager[Any]:
        """The scope of the model's device."""
        device = self.tcnzoo.device
        scope: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if device is None else keras.device(device)
        )
        return scope

    def call(
        self,
        x: Tensor | Mapping[str, Any],
        embeddings: Sequence[Tensor] = (),
        stream: Stream | None = None,
        training: bool | None = None,
    ) -> Any:
        """Run the model.

        Args:
            x: (batch, time, channels), or (batch, channels) for a model of vectors; or the
                dictionary of x and embeddings.
            embeddings: one for each of the spec, (batch, channels) or (batch, time, channels).
            stream: continue a streamed signal.
            training: batch statistics and dropout.
        Returns:
            (batch, time, channels) or (batch, channels); a temporal block by itself gives two.
        Raises:
            InputError: not as many embeddings as the spec names.
        """
        if isinstance(x, Mapping):
            x, embeddings = x["x"], x.get("embeddings", ())
        wanted = len(self.tcnzoo.spec.embedding_specs)
        if len(embeddings) != wanted:
            raise InputError(f"the model takes {wanted} embeddings, but {len(embeddings)} came")
        inputs = {"embeddings": tuple(embeddings)} if wanted else {}
        with self.on_device():
            return self.root(x, stream, **inputs)

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Shape of the output; its time is None where that depends on an unknown length."""
        shape = x_shape["x"] if isinstance(x_shape, dict) else x_shape
        return self.root.compute_output_shape(shape)

    def save_own_variables(self, store: Any) -> None:
        """Store all variables under their neutral names."""
        self.root.save_named(store)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` stored."""
        self.root.load_named(store)

    def get_config(self) -> dict[str, Any]:
        """The spec as a dictionary, name, and type; not the device, which the file may leave."""
        spec = self.tcnzoo.spec.model_dump(mode="json")
        dtype = self.dtype_policy.name
        return {"spec": spec, "name": self.name, "dtype": dtype, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SpecModel:
        """Build the model that `get_config` described."""
        return cls(**{**config, "spec": parse_spec(config["spec"])})
