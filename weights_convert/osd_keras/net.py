"""The DeepEpi net as a chain of Keras layers, and as blocks.

Source: OpenSeizureDetector, nnTraining2 (`DeepEpiCnnModel`): facts only.
"""

from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import ActivationSpec, Conv1dSpec, DenseSpec, PoolSpec, Spec

from ..keras_chain.blocks import parts_of
from ..keras_chain.chain import chain_of
from ..keras_chain.plan import Plan, plan_of

# Kind of kernel -> the block that it begins, what the block calls it, and what it is named.
BLOCKS = {"conv1d": ("conv_block", "conv", "conv"), "dense": ("dense_block", "dense", "dense")}
# What a block of a signal, and one of a vector, is made of; dropout may follow.
BODY = {kind: (kind, "batch_norm", "relu") for kind in BLOCKS}
POOL = ("global_average",)
END = ("dense", "softmax")
# What the layers outside of blocks are named, by the kind of the first.
END_NAMES = {"pool": ("pool",), "dense": ("logits", "probabilities")}


def plan_blocks(model: Mapping[str, Any], old: bool) -> Plan:
    """The plan of a chain of layers, put together to blocks."""
    plan = plan_of(chain_of(model, old))
    return plan.renamed(*_blocks(cut_chain(list(parts_of(plan.spec)))))


Part = tuple[str, Spec]


def cut_chain(parts: list[Part]) -> list[list[Part]]:
    """Cut a chain before every kernel and the pool, and raise SpecError unless it is this net."""
    groups: list[list[Part]] = []
    for part in parts:
        if isinstance(part[1], Conv1dSpec | DenseSpec | PoolSpec) or not groups:
            groups.append([])
        groups[-1].append(part)
    words = [tuple(_word(spec) for _, spec in group) for group in groups]
    kinds = [_kind(word) for word in words]
    order = ["conv1d", "pool", "dense", "end"]
    wanted = {"conv1d", "pool", "end"} <= set(kinds) <= set(order)
    once = kinds.count("pool") == kinds.count("end") == 1
    if not (wanted and once and kinds == sorted(kinds, key=lambda kind: order.index(str(kind)))):
        odd = next((word for word, kind in zip(words, kinds, strict=True) if kind is None), None)
        what = f"it has {' -> '.join(odd)}" if odd else f"it is {', '.join(map(str, kinds))}"
        raise SpecError(
            "osd-keras holds a DeepEpi net, which is convolutions with padding valid, batch_norm "
            "and relu, a global average, dense layers with batch_norm and relu, and a dense layer "
            f"with softmax, but {what}"
        )
    return groups


def _word(spec: Spec) -> str:
    """What a layer is, as far as the pattern minds."""
    if isinstance(spec, ActivationSpec):
        return spec.name
    if isinstance(spec, PoolSpec):
        return spec.mode
    if isinstance(spec, Conv1dSpec):
        plain = Conv1dSpec(
            in_channels=spec.in_channels,
            out_channels=spec.out_channels,
            kernel_size=spec.kernel_size,
            stride=spec.stride,
            bias=spec.bias,
            padding="valid",
            initializer=spec.initializer,
        )
        return spec.kind if spec == plain else f"conv1d with padding {spec.padding}"
    return spec.kind


def _kind(word: tuple[str, ...]) -> str | None:
    """Which part of the net a group of layers is; None for none."""
    for kind, body in BODY.items():
        if word in (body, (*body, "dropout")):
            return kind
    return {POOL: "pool", END: "end"}.get(word)


def _blocks(groups: list[list[Part]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The document of the net in blocks, and what each layer of the chain is called in it."""
    layers: dict[str, Any] = {}
    names: dict[str, str] = {}
    counts = dict.fromkeys(BLOCKS, 0)
    for group in groups:
        (first, kernel), *rest = group
        if len(rest) > 1:
            counts[kernel.kind] += 1
            _, inner, stem = BLOCKS[kernel.kind]
            name = f"{stem}{counts[kernel.kind]}"
            layers[name] = _block(kernel, [spec for _, spec in rest])
            roles = (inner, "norm", "activation", "dropout")
            names |= {part: f"{name}.{role}" for (part, _), role in zip(group, roles, strict=False)}
            continue
        for (part, spec), name in zip(group, END_NAMES[kernel.kind], strict=True):
            layers[name] = spec.model_dump(mode="json")
            names[part] = name
    return {"kind": "sequential", "layers": layers}, names


def _block(kernel: Spec, rest: list[Spec]) -> dict[str, Any]:
    """The document of a block: a kernel, its norm, its activation, perhaps dropout."""
    norm, activation, *dropout = (spec.model_dump(mode="json") for spec in rest)
    own = {
        name: value
        for name, value in kernel.model_dump(mode="json").items()
        if name not in ("kind", "weight_norm")
    }
    return {
        **own,
        "kind": BLOCKS[kernel.kind][0],
        "norm": norm | {"channels": None},
        "activation": activation,
        "dropout": dropout[0]["rate"] if dropout else 0.0,
    }
