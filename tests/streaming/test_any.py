"""Random compositions of streamable layers, in random chunks, equal their offline output."""

from hypothesis import assume, given, settings, strategies as st

import tcnzoo
from tests.support.compare import assert_close, noise, reference, stream, weights_of

LENGTH = 27


@st.composite
def layers(draw):
    """One layer of 3 channels: convolution, transposed convolution or upsampling."""
    kind = draw(st.sampled_from(["conv1d", "conv_block", "conv_transpose1d", "upsample"]))
    if kind == "upsample":
        return {"kind": kind, "factor": draw(st.integers(1, 3))}
    sizes = {"stride": (1, 3), "dilation": (1, 3), "kernel_size": (1, 4)}
    spec = {name: draw(st.integers(*bounds)) for name, bounds in sizes.items()}
    spec |= {"kind": kind, "in_channels": 3, "out_channels": 3}
    if kind != "conv_transpose1d":
        spec["padding"] = draw(st.sampled_from(["causal", "valid"]))
        spec["padding_mode"] = draw(st.sampled_from(["zeros", "replicate"]))
    if kind == "conv_block":
        spec["norm"] = draw(st.sampled_from(["batch_norm", "layer_norm"]))
        return spec | {"activation": "tanh"}
    return spec | {"weight_norm": draw(st.booleans())}


@st.composite
def streams(draw):
    """(spec, batch size, places to cut at)."""
    chosen = draw(st.lists(layers(), min_size=1, max_size=3))
    spec = {"kind": "sequential", "layers": {f"l{i}": one for i, one in enumerate(chosen)}}
    cuts = draw(st.lists(st.integers(0, LENGTH), max_size=5))
    return spec, draw(st.integers(1, 3)), sorted(cuts)


@settings(max_examples=12)
@given(case=streams())
def test_any_composition_in_any_chunks(backend, case):
    spec, batch, cuts = case
    weights, x = weights_of(spec), noise(batch, 3, LENGTH)
    assume(tcnzoo.load_spec(spec).min_length() <= LENGTH)
    expected = tcnzoo.predict(reference(spec, weights), x)
    found, _ = stream(tcnzoo.create(spec, backend, weights=weights), x, cuts)
    assert_close(found, expected)
