"""A torch model as `torch.export` sees it: where Core ML, ExecuTorch and AOTInductor begin."""

from collections.abc import Sequence
from typing import Any

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError, SpecError
from tcnzoo.models.calls import create
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import MaskSpec, Spec
from tcnzoo.specs.folding import fold

# Outputs of a model that has two: those of a temporal block by itself.
OUTPUTS = ("output", "out")


def input_names(spec: Spec) -> list[str]:
    """Names of a file's inputs: `x`, and one for each embedding or mask, in the model's order."""
    return ["x", *(f"embedding_{index}" for index in range(len(spec.embedding_specs)))]


def input_shapes(spec: Spec, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Neutral shapes of the inputs, in the order of `input_names`."""
    batch, *inner = shape
    beside = spec.embedding_shapes(tuple(inner)) if spec.embedding_specs else []
    return [tuple(shape), *((batch, *rest) for rest in beside)]


def module_of(spec: Spec, weights: Weights, dtype: str = "float32") -> Any:
    """The folded torch model, as a module of tensors only.

    Its inputs are float32, in the order of `input_names`, and so are its outputs; it computes in
    `dtype`.
    """
    import torch

    if spec.output_names:
        raise SpecError(
            "this format holds one output, but the model gives "
            f"{', '.join(spec.output_names)}; write an onnx or litert file"
        )
    folded, effective = fold(spec, weights)
    model = create(folded, "torch", weights=effective, dtype=dtype)
    rename_hidden_parts(model)
    kind = getattr(torch, dtype)

    class Offline(torch.nn.Module):
        """Casts at both ends, and passes embeddings as a list."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor, *embedding: torch.Tensor) -> Any:
            """(batch, channels, time) -> the same, or a tuple of two; names as `input_names`."""
            extra = {"embeddings": [values.to(kind) for values in embedding]} if embedding else {}
            y = self.model(x.to(kind), **extra)
            return tuple(output.float() for output in y) if isinstance(y, tuple) else y.float()

    return Offline().eval()


def rename_hidden_parts(model: Any) -> None:
    """Rename the parts that an attribute of torch hides, in place: torch.export knows no others.

    The model computes what it did, but its state_dict has other names.
    """
    for module in list(model.modules()):
        module._modules = {
            name if getattr(module, name, None) is part else f"{name}_": part
            for name, part in module._modules.items()
        }


def program(
    spec: Spec, weights: Weights, options: ExportOptions, dtype: str = "float32"
) -> tuple[Any, str]:
    """Trace a model.

    Args:
        spec, weights: of the model.
        options: shape, and whether batch and time stay open.
        dtype: float type that the model computes in.
    Returns:
        (torch.export.ExportedProgram, a note on the shapes that it takes).
    """
    module = module_of(spec, weights, dtype)
    shape, axes = _open_axes(spec, options) if options.dynamic else (options.shape, ())
    exported = _traced(module, spec, shape, axes)
    if not _all_open(exported, axes):
        axes = ()
        exported = _traced(module, spec, options.shape, axes)
    if not axes:
        return exported, f"takes inputs of shape {options.shape} only"
    if len(shape) == 2:
        return exported, "takes any batch"
    length = "any length" if len(axes) == 2 else f"{shape[-1]} time steps only"
    return exported, f"takes any batch, and {length}"


def _open_axes(spec: Spec, options: ExportOptions) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape to trace with, and its axes that can stay open.

    torch takes every size of 0 or 1 on the way for a fixed one; a long signal has none. A model of
    one length keeps it.
    """
    batch, channels, *steps = options.shape
    longer = [*steps[:-1], *(2 * length + 64 for length in steps[-1:])]
    try:
        spec.output_shape((channels, *longer))
    except InputError:
        return (max(batch, 2), channels, *steps), (0,)
    return (max(batch, 2), channels, *longer), (0, 1 + len(steps)) if steps else (0,)


def _traced(module: Any, spec: Spec, shape: Sequence[int], axes: Sequence[int]) -> Any:
    """Trace a module for inputs of some shape, with some axes of `x` and what is beside it open."""
    import torch

    free = torch.export.Dim.AUTO
    shapes = input_shapes(spec, shape)
    opened = [axes]
    for side in spec.embedding_specs:
        tokens = (1, 2) if isinstance(side, MaskSpec) and len(axes) == 2 else ()
        opened.append((*axes[:1], *tokens) if isinstance(side, MaskSpec) else axes)
    names = [
        {axis: free for axis in chosen if axis < len(size)}
        for chosen, size in zip(opened, shapes, strict=True)
    ]
    # The embeddings are one argument, where there are any.
    arguments = (names[0], tuple(names[1:])) if len(names) > 1 else tuple(names)
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    with torch.no_grad():
        return torch.export.export(
            module, inputs, dynamic_shapes=arguments if axes else None, strict=False
        )


def _all_open(exported: Any, axes: Sequence[int]) -> bool:
    """Whether the trace has left these axes of `x` open."""
    name = exported.graph_signature.user_inputs[0]
    shape = next(node for node in exported.graph.nodes if node.name == name).meta["val"].shape
    # A size is a symbol or, also where it looks like one, the number that it was fixed at.
    return not any(str(shape[axis]).isdigit() for axis in axes)


def labelled(outputs: Sequence[Any]) -> Output:
    """Outputs of a run as neutral arrays: one, or a dictionary of two."""
    arrays: list[Array] = [output.numpy(force=True) for output in outputs]
    return arrays[0] if len(arrays) == 1 else dict(zip(OUTPUTS, arrays, strict=True))
