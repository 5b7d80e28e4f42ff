"""Every preset in every backend: counts and outputs, at lengths that keep the run short."""

import pytest

import tcnzoo
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    assert_parity,
    noise,
    weights_of,
)

# Short signals: DeepEpi needs 125 steps, the encoders and the seizure detectors 16.
LENGTHS = {
    "deepepi": 300,
    "deepepi-osd": 260,
    "tcn-adding": 67,
    "tcn-base": 61,
    "tcn-copy-memory": 71,
    "tcn-eeg-encoder": 53,
    "tcn-eeg-mem": 1000,
    "tcn-jsb": 43,
    "tcn-se-gated": 47,
    "labram-base": 400,
    "labram-mem": 200,
    "labram-vqnsp": 200,
    "seizure-stream": 48,
    "seizure-tcn-fast": 48,
    "seizure-tcn-mamba": 48,
    "seizure-transformer": 64,
    "seizure-unet-mamba": 48,
    "vq-encoder-hailo": 40,
}
# Those that no exporter writes: their recursions over segments are loops.
IN_BACKENDS = {"hsmm-gaussian": 70, "vq-hdp-hsmm": 40, "vq-hdp-hsmm-bouts": 30}
COUNTS = {
    "deepepi": (97_362, 1_344),
    "deepepi-osd": (97_362, 1_344),
    "labram-base": (5_820_137, 0),
    "labram-mem": (7_466_728, 0),
    # 8,579,408 parameters in the original, of which its codebook never reads 532,480; these buffers
    # are the codes, how often each was chosen, and whether k-means has run.
    "labram-vqnsp": (7_522_640, 532_481),
    "tcn-adding": (96_001, 0),
    "tcn-base": (118_856, 0),
    "tcn-copy-memory": (12_530, 0),
    "tcn-eeg-encoder": (12_103_040, 0),
    "tcn-eeg-mem": (3_372_192, 0),
    "tcn-jsb": (189_238, 0),
    "tcn-se-gated": (137_088, 0),
    "seizure-stream": (3_572_703, 2_944),
    "seizure-tcn-fast": (30_360_807, 7_808),
    "seizure-tcn-mamba": (34_513_255, 0),
    "seizure-transformer": (37_848_897, 14_336),
    "seizure-unet-mamba": (32_606_439, 12_160),
    "vq-encoder-hailo": (127_328, 640),
    "hsmm-gaussian": (290, 0),
    "vq-hdp-hsmm": (185_885, 67_201),
    "vq-hdp-hsmm-bouts": (47_436, 2_721),
}
# Of the same blocks and widths as tcn-eeg-encoder, which stands for it.
LIKE_ANOTHER = {"tcn-eeg-encoder-rf12s"}


def shallow(name):
    """A preset with one of its bidirectional Mamba-2 layers or transformer blocks, all alike."""
    alike = {"bi_mamba2": {"layers": 1}, "transformer": {"depth": 1}}

    def one_layer(part):
        if not isinstance(part, dict):
            return part
        changed = alike.get(part.get("kind"), {})
        return {field: one_layer(value) for field, value in part.items()} | changed

    return tcnzoo.load_spec(one_layer(tcnzoo.load_spec(name).model_dump(mode="json")))


@pytest.mark.parametrize("name", [*LENGTHS, *IN_BACKENDS])
def test_preset_equals_reference(backend, name):
    spec = shallow(name)
    assert_parity(spec, backend, 1, *spec.signal_shape({**LENGTHS, **IN_BACKENDS}[name]))


@pytest.mark.parametrize("name", LENGTHS)
def test_a_shallow_preset_lacks_alike_layers_alone(name):
    whole, fewer = tcnzoo.load_spec(name).params(), shallow(name).params()
    assert fewer.items() <= whole.items()
    deeper = ("mamba.layers.", "transformer.blocks.")
    assert all(any(part in row for part in deeper) for row in whole.keys() - fewer.keys())


@pytest.mark.parametrize("name", COUNTS)
def test_native_module_holds_the_counted_values(backend, name):
    assert tcnzoo.count_params(tcnzoo.create(name, backend)) == COUNTS[name]


@pytest.mark.parametrize("name", ["deepepi", "tcn-se-gated"])
def test_gradients_of_a_preset(native, name):
    # In evaluation mode: in training, a value that float32 puts on the other side of a ReLU's kink
    # changes the statistics of the batch for all others.
    pytest.importorskip("torch")
    spec = tcnzoo.load_spec(name)
    weights, x = weights_of(spec), noise(2, spec.input_channels, LENGTHS[name])
    target = noise(2, *spec.output_shape(x.shape[1:]), seed=3)
    exact = tcnzoo.create(spec, "torch", weights=weights, dtype="float64")
    loss, expected = tcnzoo.gradients(exact, x, target)
    model = tcnzoo.create(spec, native, weights=weights)
    found_loss, found = tcnzoo.gradients(model, x, target)
    assert_close(found_loss, loss)
    assert_gradients_close(found, expected)


def test_every_preset_is_covered():
    assert {*LENGTHS, *IN_BACKENDS, *LIKE_ANOTHER} == set(tcnzoo.list_models())
    assert {*LENGTHS, *IN_BACKENDS} == COUNTS.keys()


def test_osd_preset_gives_other_numbers_from_the_same_weights():
    # eps 1e-3 against 1e-5 and another last stride: the two are not the same model.
    weights = tcnzoo.get_weights(tcnzoo.create("deepepi", "numpy"))
    x = noise(1, 1, 300)
    one, other = (
        tcnzoo.predict(tcnzoo.create(name, "numpy", weights=weights), x)
        for name in ("deepepi", "deepepi-osd")
    )
    assert abs(one - other).max() > 1e-4
