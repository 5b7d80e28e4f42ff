"""How MLX blocks keep their parts: declared, typed, None where the spec has none, never hidden."""

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

import tcnzoo
from tcnzoo.backends.mlx import trace
from tcnzoo.backends.mlx.activation import SINGLE
from tcnzoo.backends.mlx.block import BLOCKS, Block, build
from tcnzoo.models.pointwise import POINTWISE
from tcnzoo.specs import DropoutSpec, Spec
from tests.support.cases import ACTIVATIONS, BLOCKS as CASES
from tests.support.compare import assert_close, noise, reference, weights_of
from tests.support.tcns import tcn

DENSE = {"kind": "dense", "in_features": 3, "out_features": 3}


def test_kind_without_a_block_is_one_sentence():
    class Foo(Spec):
        kind: str = "foo"

    with pytest.raises(tcnzoo.SpecError, match=r"^backend 'mlx' has no block of kind 'foo'$"):
        build(Foo())


def test_part_that_the_class_does_not_declare():
    class Odd(Spec):
        kind: str = "odd"

        def children(self):
            return {"first": DropoutSpec(rate=0.1), "others.0": DropoutSpec(rate=0.1)}

    class OddBlock(Block[Odd]):
        first: Block[DropoutSpec]

    with pytest.raises(TypeError, match="OddBlock does not declare its parts others"):
        OddBlock(Odd())


def test_parts_of_a_base_class_are_declared():
    class Pair(Spec):
        kind: str = "pair"

        def children(self):
            return {"first": DropoutSpec(rate=0.1), "second": DropoutSpec(rate=0.2)}

    class Base(Block[Pair]):
        first: Block[DropoutSpec]

    class Derived(Base):
        second: Block[DropoutSpec]

    assert Derived(Pair()).second.spec.rate == 0.2


def test_parts_are_attributes_and_none_where_the_spec_has_none():
    model = tcnzoo.create(tcn(norm="layer_norm", channels=[3, 3], dropout=0.0), "mlx")
    block = model.blocks[0]
    assert block.conv1 is block["conv1"]
    assert block.norm2 is block["norm2"]
    assert (block.se, block.residual, block.dropout, model.skips) == (None,) * 4
    assert [path for path, _ in block.walk()][:1] == ["blocks.0"]


def test_parts_are_replaced_removed_and_added_natively():
    spec = tcn(norm="layer_norm", channels=[3], dropout=0.5, squeeze_excitation="global")
    model, x = tcnzoo.create(spec, "mlx", weights=weights_of(spec)), noise(2, 3, 21)
    block, expected = model.blocks[0], tcnzoo.predict(model, x)
    se = block.se
    block.se = None
    assert block.se is None
    assert "se" not in block
    assert abs(tcnzoo.predict(model, x) - expected).max() > 1e-3
    block.se = se
    assert block.se is se is block["se"]
    np.testing.assert_array_equal(tcnzoo.predict(model, x), expected)
    other = tcnzoo.create(spec, "mlx", weights=weights_of(spec, 1)).blocks[0].conv1
    block.conv1 = other
    assert block.conv1 is other is block["conv1"]
    del block.se
    assert block.se is None


@pytest.mark.parametrize("channels", [[4, 5, 4], [5, 4, 4], [4, 4, 5]])
def test_gaps_of_a_group(channels):
    # A projection of skips only where the width is not the last one's.
    spec = tcn(skip_connections=True, channels=channels)
    model, x = tcnzoo.create(spec, "mlx", weights=weights_of(spec)), noise(2, 3, 21)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x)
    assert_close(tcnzoo.predict(model, x), expected)
    assert {name for name, _ in tree_flatten(model.parameters())} == set(model.tcnzoo.params)
    native = mx.array(x.astype(np.float32).swapaxes(1, 2))
    step = mx.compile(lambda x: model(x), inputs=model.state, outputs=model.state)
    assert_close(np.array(step(native)).swapaxes(1, 2), expected)
    model.freeze().unfreeze()
    assert len(tree_flatten(model.trainable_parameters())) == len(model.tcnzoo.params)


@pytest.mark.parametrize("kind", BLOCKS)
def test_no_attribute_hides_a_declared_part(kind):
    declared = BLOCKS[kind]._declared or ()
    assert [name for name in declared if hasattr(Block, name)] == []


def test_only_the_user_names_parts_of_sequences_and_graphs():
    assert {kind for kind, cls in BLOCKS.items() if cls._declared is None} == {
        "sequential",
        "graph",
        "heads",
    }


def test_no_layer_can_have_the_name_of_an_attribute():
    model = tcnzoo.create({"kind": "sequential", "layers": {"dense": DENSE}}, "mlx")
    names = [name for name in vars(model) if not name.startswith("_")]
    assert sorted(names) == ["path", "spec", "tcnzoo"]
    for name in names:
        with pytest.raises(tcnzoo.SpecError, match=f"layer name '{name}' is reserved"):
            tcnzoo.create({"kind": "sequential", "layers": {name: DENSE}}, "mlx")


@pytest.mark.parametrize(
    "name", ["observer", "device", "steps", "walk", "blocks", "update", "state"]
)
def test_layer_with_a_name_that_blocks_use_elsewhere(name):
    spec = {"kind": "sequential", "layers": {name: DENSE}}
    model, x = tcnzoo.create(spec, "mlx", weights=weights_of(spec)), noise(2, 3, 7)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x)
    assert_close(trace(model, x, ())[name], expected)
    assert_close(tcnzoo.predict(model, x), expected)
    assert model[name].path == name
    # Methods of the module win, as they do for nn.Module itself.
    assert hasattr(Block, name) or getattr(model, name) is model[name]


ROUNDED = ["glu", *(f"activation-{name}" for name in ACTIVATIONS if name not in SINGLE)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ROUNDED)
def test_pointwise_blocks_are_computed_in_float32_and_rounded_once(name, dtype):
    spec, shape = CASES[name]
    narrow = getattr(mx, dtype)
    x = mx.array(3.0 * noise(*shape).astype(np.float32).swapaxes(1, 2)).astype(narrow)
    expected = tcnzoo.create(spec, "mlx")(x.astype(mx.float32)).astype(narrow)
    y = tcnzoo.create(spec, "mlx", dtype=dtype)(x)
    assert y.dtype == narrow
    assert mx.array_equal(y, expected)


def test_every_pointwise_block_has_a_class():
    assert set(POINTWISE) <= set(BLOCKS)
