"""The public calls on models: create, predict, stream, read and write weights, differentiate."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tcnzoo.arrays import Array, Weights, to_numpy, to_real
from tcnzoo.checkpoints.directory import LARGEST_SHARD, open_checkpoint, write_checkpoint
from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.errors import InputError
from tcnzoo.files.lazy import facts_of
from tcnzoo.models.backend import (
    Handle,
    backend_of,
    check_dtype,
    check_options,
    dtype_of,
    get_backend,
    handle_of,
)
from tcnzoo.models.gradient_targets import LOSSES, target_of, targets_of
from tcnzoo.models.outputs import Output
from tcnzoo.models.side_inputs import check_embeddings, ordered, to_floats
from tcnzoo.models.streaming import (
    State,
    check_policy,
    checked_state,
    initial_state,
    settled_state,
    spoilt,
)
from tcnzoo.specs import Spec
from tcnzoo.specs.params import ParamCount, check_weights, count, initial_weights
from tcnzoo.zoo.catalog import load_spec


def create(
    name_or_spec: str | os.PathLike[str] | Mapping[str, Any] | Spec,
    backend: str = "torch",
    *,
    seed: int = 0,
    weights: Mapping[str, Array] | None = None,
    device: str | None = None,
    dtype: str = "float32",
    **options: Any,
) -> Any:
    """Build the native module of a model, in evaluation mode.

    Args:
        name_or_spec: a preset's name, a spec file, a dictionary or a Spec.
        backend: `torch`, `mlx`, `keras` or `numpy`, or an alias.
        seed: of the initial weights; the same seed gives the same bits in every backend.
        weights: neutral weights to use instead of initial ones.
        device: the framework's own name (`cuda`, `mps`, `cpu`, `gpu`); None for its default.
        dtype: `float32`, or a 16-bit type where the framework has it.
        options: of the backend, whatever the spec. torch has `checkpointing="blocks"` (temporal
            blocks and Mamba-2 layers are computed once more in the backward pass, for less memory
            and the same numbers), `tf32=True` (CUDA may round products of float32 to TF32 in this
            model's calls; torch's own switches are put back) and `autocast="bfloat16"` or
            `"float16"` (mixed precision offline; weights and outputs stay float32).
    Returns:
        torch.nn.Module (channels first), mlx.nn.Module or keras.Model (channels last), or the numpy
        block (channels first).
    Raises:
        SpecError: unknown model or field, or a dtype that the backend lacks.
        BackendMissing: unknown backend, or its framework is not installed.
        InputError: an option that the backend lacks, a value that it does not take, or a model
            that does not fit into the memory.
        WeightError: `weights` do not fit the spec.
    """
    spec = load_spec(name_or_spec)
    engine = get_backend(backend)
    check_options(engine, options)
    check_dtype(engine, dtype, spec)
    table = spec.tables().params
    if weights is None:
        weights = initial_weights(table, seed, copies=2)  # these, and the framework's
    else:
        check_weights(table, weights)
    model = engine.build(spec, dtype, device, **options)
    engine.set_weights(model, dict(weights))
    return model


def predict(
    model: Any, x: Any, *, embeddings: Sequence[Any] = (), masks: Mapping[str, Any] | None = None
) -> Output:
    """Run a model in evaluation mode.

    Args:
        model: from `create` or `load`.
        x: (batch, channels, time), or (batch, channels) for a model of vectors, or
            (batch, channels, devices, time) for one of signals with devices; at least one signal
            of at least one step. Real numbers of any type and framework; see
            `tcnzoo.arrays.to_real`.
        embeddings: one array for each embedding of the spec, (batch, channels) or
            (batch, channels, time).
        masks: an array of 0 and 1 for each mask that the model names, by its name: (batch, tokens),
            or (batch, tokens, tokens) for pairs, of the tokens that reach the layer.
    Returns:
        numpy in neutral layout; a dictionary where the model has several outputs.
    Raises:
        InputError: an array of the wrong rank, channels or length, or of no real numbers; NaN where
            a part of the model has no answer to it; a mask that is missing, unknown, or holds
            anything but 0 and 1.
    """
    handle = handle_of(model)
    x, beside = _checked(model, x, embeddings, masks)
    y = backend_of(handle.backend).predict(model, x, beside)
    if handle.segments:
        handle.check_answer(y, x.shape[-1], lambda: get_weights(model))
    return y


def _checked(
    model: Any, x: Any, embeddings: Sequence[Any], masks: Mapping[str, Any] | None
) -> tuple[Array, list[Array]]:
    """A whole signal, its embeddings and masks, as floats that the model takes."""
    handle, dtype = handle_of(model), dtype_of(model)
    x, floats = to_real(x, dtype), _beside(handle, embeddings, masks, dtype)
    handle.check_input(x, floats)
    if handle.finite:
        handle.check_values(x)
    return x, floats


def _beside(
    handle: Handle, embeddings: Sequence[Any], masks: Mapping[str, Any] | None, dtype: str
) -> list[Array]:
    """Embeddings and masks as floats, in the order of the model."""
    wanted = handle.embeddings
    if not (wanted or embeddings or masks):
        return []
    return to_floats(wanted, ordered(wanted, embeddings, masks or {}), dtype)


def init_state(model: Any, batch_size: int = 1) -> State:
    """State before the first sample: a flat {name: array} in neutral layout.

    Args:
        model: a model whose parts are all causal.
        batch_size: signals that are streamed side by side.
    Raises:
        InputError: the model cannot stream; the sentence says which part stands against it.
    """
    handle = handle_of(model)
    handle.check_streamable()
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, but is {batch_size}")
    handle.check_state(batch_size)
    state = initial_state(handle.state, batch_size, "float32")
    return backend_of(handle.backend).init_state(model, state)


def step(
    model: Any,
    chunk: Any,
    state: Mapping[str, Any],
    *,
    embeddings: Sequence[Any] = (),
    masks: Mapping[str, Any] | None = None,
    nonfinite: str = "raise",
) -> tuple[Array, State]:
    """Feed the next chunk of a signal; outputs of all chunks together equal the offline output.

    Args:
        model: a model whose parts are all causal.
        chunk: (batch, channels, time), of any number of steps.
        state: from `init_state` or from the last step, of this or any other backend; not changed.
        embeddings, masks: as in `predict`, those with time for the steps of this chunk.
        nonfinite: what to do where a part that never forgets (a cumulative mean, a recurrence)
            would keep NaN or infinity: `raise`; `hold` the state that the part had before this
            chunk; or `reset` the part to its state before the first sample. The output of the chunk
            is what the model computed, NaN included. Convolutions and pools forget such a value
            after their receptive field under every policy.
    Returns:
        (numpy output of the steps that are complete, state for the next chunk).
    Raises:
        InputError: a chunk, embedding or state that does not fit, a model that cannot stream, an
            unknown policy, or under `raise` a part that would keep a value that is not finite.
    """
    check_policy(nonfinite)
    handle, dtype = handle_of(model), dtype_of(model)
    chunk = to_real(chunk, dtype, "the chunk")
    beside = _beside(handle, embeddings, masks, dtype)
    channels = handle.spec.input_channels
    if chunk.ndim != handle.rank or (channels is not None and chunk.shape[1] != channels):
        devices = ", devices" if handle.rank == 4 else ""
        raise InputError(
            f"a chunk must be (batch, {channels or 'channels'}{devices}, time), "
            f"but has shape {chunk.shape}"
        )
    if not len(chunk):
        raise InputError(f"the chunk holds no signals: its shape is {chunk.shape}")
    handle.check_streamable()
    if beside:
        check_embeddings(handle.spec, chunk.shape, beside, chunk=True)
    state = checked_state(handle.state, state, chunk.shape[0], "float32")
    if handle.finite:
        handle.check_values(chunk)
    y, after = backend_of(handle.backend).step(model, chunk, state, beside)
    if handle.segments:
        handle.check_answer(y, None, lambda: get_weights(model))
    bad = spoilt(handle.lasting, after) if handle.lasting else ()
    return y, settled_state(handle.spec, bad, state, after, nonfinite) if bad else after


def get_weights(model: Any) -> Weights:
    """Copy the weights of a model: neutral names and layout, in table order."""
    return backend_of(handle_of(model).backend).get_weights(model)


def set_weights(model: Any, weights: Mapping[str, Any]) -> None:
    """Replace all weights of a model; nothing is changed unless all of them fit.

    Args:
        weights: neutral names and layout; the model keeps its own float type.
    Raises:
        WeightError: a tensor that is missing, left over, or of the wrong shape.
    """
    handle = handle_of(model)
    check_weights(handle.params, weights)
    arrays = {name: to_numpy(array) for name, array in weights.items()}
    backend_of(handle.backend).set_weights(model, arrays)


def count_params(model_or_spec: Any) -> ParamCount:
    """Count trained values and running statistics of a model (as the framework has it) or spec."""
    # An MLX module is a mapping too.
    if isinstance(model_or_spec, Spec | str | Mapping) and not hasattr(model_or_spec, "tcnzoo"):
        return count(load_spec(model_or_spec).params())
    table = handle_of(model_or_spec).params
    weights = get_weights(model_or_spec)
    trainable = sum(weights[name].size for name, param in table.items() if param.trainable)
    return ParamCount(trainable, sum(array.size for array in weights.values()) - trainable)


def gradients(
    model: Any,
    x: Any,
    target: Any,
    loss: str | Mapping[str, str] = "mse",
    *,
    embeddings: Sequence[Any] = (),
    masks: Mapping[str, Any] | None = None,
    training: bool = False,
) -> tuple[float, Weights]:
    """Loss of a model on one batch and its gradients, by the framework's own differentiation.

    Args:
        model: of any backend but numpy.
        x: as in `predict`.
        target: of the output's shape; for `cross_entropy` integer classes without the channel axis.
            Of a model with several outputs, a dictionary by output.
        loss: `mse`, `mae`, `bce` (on logits) or `cross_entropy` (on logits over channels), each the
            mean over all values. Of a model with several outputs, a dictionary from those that
            matter to losses, which are added up; `term` takes an output that is a scalar as it is.
        embeddings, masks: as in `predict`.
        training: use batch statistics (and update the running ones) and dropout, as a training step
            does. The model's own mode stays as it is.
    Returns:
        (loss, gradient of every trained parameter and of `input`), neutral names and layout.
    Raises:
        InputError: an unknown loss, or shapes that do not fit.
    """
    handle = handle_of(model)
    several = handle.spec.output_names
    if not several and loss not in LOSSES:
        raise InputError(f"loss must be one of {', '.join(LOSSES)}, but is {loss!r}")
    x, beside = _checked(model, x, embeddings, masks)
    if several:
        target = targets_of(handle.spec, x.shape, target, loss, dtype_of(model))
    else:
        shape = (x.shape[0], *handle.spec.output_shape(x.shape[1:]))
        target = target_of(target, shape, str(loss), dtype_of(model))
    engine = backend_of(handle.backend)
    return engine.gradients(model, x, target, loss, beside, training)


def save(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    licence: str | None = None,
    parity: ParityReport | None = None,
    max_shard_size: int | str = LARGEST_SHARD,
) -> None:
    """Write a model as a checkpoint directory: config.json, model.safetensors, README.md.

    Args:
        model: from `create` or `load`.
        directory: made if it is not there.
        overwrite: replace the checkpoint that is there; of its README.md only our section.
        licence: of the weights, as in the model card: `apache-2.0`, `cc-by-4.0`.
        parity: a report of `tcnzoo.parity` to be shown in the model card.
        max_shard_size: tensors above it, in all, are spread over several files with
            model.safetensors.index.json; bytes, or text such as `500MB`.
    Raises:
        InputError: the directory exists and `overwrite` is not set, or a size or licence that is
            none.
    """
    write_checkpoint(
        directory,
        handle_of(model).spec,
        get_weights(model),
        overwrite=overwrite,
        licence=licence,
        parity=parity,
        max_shard_size=max_shard_size,
    )


def load(
    directory: str | os.PathLike[str],
    backend: str = "torch",
    *,
    device: str | None = None,
    dtype: str | None = None,
    **options: Any,
) -> Any:
    """Build the native module of a checkpoint directory, in evaluation mode.

    Args:
        directory: written by `save` or `tcnzoo convert`.
        backend, device, options: as in `create`.
        dtype: None for the type in the file.
    Raises:
        InputError: no checkpoint there.
        WeightError: a broken file, or tensors that do not fit the spec.
    """
    spec, weights = open_checkpoint(directory)
    dtype = dtype or _dtype_of(weights)
    return create(spec, backend, weights=weights, device=device, dtype=dtype, **options)


def _dtype_of(weights: Mapping[str, Array]) -> str:
    """The float type of some weights; of several, one that holds them all."""
    types = {str(tensor.dtype) for tensor in facts_of(weights).values()}
    if len(types) == 1:
        return types.pop()
    return "float64" if "float64" in types else "float32"
