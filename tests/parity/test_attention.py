"""Attention and transformer blocks: torch's own layers, rows without keys, streams, and misuse."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tests.support.cases import attention, transformer_block
from tests.support.compare import assert_close, noise, reference, weights_of


def _as_torch(weights, norm_first):
    """A torch.nn.TransformerEncoderLayer with the weights of a block of 6 channels."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.TransformerEncoderLayer(
        6, 2, dim_feedforward=9, dropout=0.0, activation="relu", batch_first=True,
        norm_first=norm_first, layer_norm_eps=1e-5,
    )  # fmt: skip
    biases = [weights[f"attention.qkv.{letter}_bias"] for letter in "qkv"]
    names = {
        "self_attn.in_proj_weight": weights["attention.qkv.weight"],
        "self_attn.in_proj_bias": np.concatenate(biases),
    }
    for theirs, ours in {"self_attn.out_proj": "attention.proj", "linear1": "fc1",
                         "linear2": "fc2", "norm1": "norm1", "norm2": "norm2"}.items():  # fmt: skip
        names |= {f"{theirs}.{part}": weights[f"{ours}.{part}"] for part in ("weight", "bias")}
    layer.load_state_dict({name: torch.tensor(array) for name, array in names.items()})
    return layer.double().eval()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("norm_first", [True, False])
def test_torch_gives_the_same(backend, norm_first, size):
    """An eps that is off hides at size 1."""
    torch = pytest.importorskip("torch")
    spec = transformer_block(norm_first=norm_first, mlp={"activation": "relu"})
    weights, x = weights_of(spec), size * noise(2, 6, 7).astype(np.float64)
    layer = _as_torch(weights, norm_first)
    expected = layer(torch.tensor(x).transpose(1, 2)).transpose(1, 2).detach().numpy()
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, tolerance=1e-12)
    model = tcnzoo.create(spec, backend, weights=weights)
    # Relative to the largest value, also below 1.
    scale = np.abs(expected).max()
    assert_close(tcnzoo.predict(model, x) / scale, expected / scale)


@pytest.mark.parametrize("mask", ["key_mask", "pair_mask"])
def test_a_query_without_keys_gives_zeros(backend, mask):
    spec = attention(**{mask: "seen"}, qk_norm="layer_norm", out_bias=False)
    x = noise(2, 6, 5)
    seen = np.ones((2, 5) if mask == "key_mask" else (2, 5, 5))
    seen[1] = 0.0
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    y = tcnzoo.predict(model, x, masks={"seen": seen})
    assert not y[1].any()
    assert y[0].any()
    if backend == "numpy":  # which has no gradients
        return
    target = np.zeros_like(y)
    _, table = tcnzoo.gradients(model, x, target, masks={"seen": seen}, training=True)
    assert all(np.isfinite(array).all() for array in table.values())
    assert not table["input"][1].any()


def test_masked_keys_are_not_seen(backend):
    spec, x = attention(key_mask="seen"), noise(1, 6, 5)
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    seen = np.array([[1.0, 0.0, 1.0, 1.0, 0.0]])
    y = tcnzoo.predict(model, x, masks={"seen": seen})
    x[:, :, [1, 4]] = 100.0
    others = [0, 2, 3]
    assert_close(tcnzoo.predict(model, x, masks={"seen": seen})[:, :, others], y[:, :, others])


def test_the_first_block_never_drops_its_path():
    stack = {"kind": "transformer", "depth": 3, "block": transformer_block(), "drop_path": 0.2}
    rates = [part.rate for _, part in tcnzoo.load_spec(stack).walk() if part.kind == "drop_path"]
    assert rates == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize(
    "spec, sentence",
    [
        (attention(heads=4), "heads must divide the 6 channels"),
        (attention(window=3), "window needs causal: true"),
        (attention(key_mask="a", pair_mask="a"), "must have different names"),
        (transformer_block({"channels": 6}), "attention takes its channels from the block"),
        (
            {"kind": "transformer", "depth": 2, "block": transformer_block(drop_path=0.1)},
            "drop_path of a transformer stands beside its block",
        ),
    ],
)
def test_fields_that_do_not_go_together(spec, sentence):
    with pytest.raises(SpecError, match=sentence):
        tcnzoo.load_spec(spec)


@pytest.mark.parametrize(
    "fields, sentence",
    [({}, "use causal: true with a window"), ({"causal": True}, "give it a window")],
)
def test_what_cannot_stream_says_why(fields, sentence, backend):
    model = tcnzoo.create(attention(**fields), backend)
    with pytest.raises(InputError, match=sentence):
        tcnzoo.init_state(model)


def test_masks_are_refused_in_a_sentence(backend):
    model, x = tcnzoo.create(attention(key_mask="seen"), backend), noise(2, 6, 5)
    with pytest.raises(InputError, match="seen"):
        tcnzoo.predict(model, x)
    with pytest.raises(InputError, match="0 and 1|zeros and ones"):
        tcnzoo.predict(model, x, masks={"seen": np.full((2, 5), 0.5)})
    with pytest.raises(InputError, match=r"\(2, 5\)"):
        tcnzoo.predict(model, x, masks={"seen": np.ones((2, 4))})
