"""Models of keras-tcn, held against that library's own outputs."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError, SpecError
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import refusal, rewritten
from tests.support.compare import assert_close, assert_same_bits, noise, stream
from tests.support.keras_files import filled, keras, ours, output

TCN = pytest.importorskip("tcn").TCN
layers = keras.layers

ACTIVATIONS = ("relu", "tanh", "elu", "relu", "gelu", "linear", "leaky_relu", "sigmoid")
GRID = [
    (norm, skip, padding, sequences)
    for norm in (None, "batch", "layer")
    for skip in (True, False)
    for padding in ("causal", "same")
    for sequences in (False, True)
]


def arguments(number):
    """Arguments of the layer for one row of the grid; what the grid leaves open goes round."""
    norm, skip, padding, sequences = GRID[number]
    return {
        "nb_filters": 4 if skip else ([4, 5], [3, 6], 4)[number % 3],
        "kernel_size": (2, 3)[number % 2],
        "nb_stacks": 1 + number // 2 % 2,
        "dilations": ([1, 2], [3, 1])[number // 3 % 2],
        "padding": padding,
        "use_skip_connections": skip,
        "dropout_rate": (0.0, 0.1)[number % 2],
        "return_sequences": sequences,
        "activation": ACTIVATIONS[number % 8],
        "use_batch_norm": norm == "batch",
        "use_layer_norm": norm == "layer",
    }


def net(chosen, length=None, seed=3):
    """Input -> TCN -> Dense, filled."""
    x = keras.Input((length, 3))
    y = layers.Dense(2, activation="softmax")(TCN(**chosen)(x))
    return filled(keras.Model(x, y), seed)


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Save and convert the net of a row of the grid, once: (its output, where ours is)."""
    done = {}

    def carry(number):
        if number not in done:
            folder, model = tmp_path_factory.mktemp("carried"), net(arguments(number))
            model.save(folder / "net.keras")
            report = convert(folder / "net.keras", folder / "ours")
            assert report.from_format == "keras-tcn"
            assert len(report.used) + len(report.dropped) == len(model.weights)
            done[number] = output(model, noise(2, 3, 11)), folder / "ours"
        return done[number]

    return carry


@pytest.mark.parametrize("number", range(len(GRID)))
def test_reference_gives_the_output_of_keras_tcn(number, carried):
    expected, directory = carried(number)
    assert_close(ours(directory, "numpy", noise(2, 3, 11)), expected)


@pytest.mark.parametrize("number", range(0, len(GRID), 7))
def test_backend_gives_the_output_of_keras_tcn(number, native, carried):
    expected, directory = carried(number)
    assert_close(ours(directory, native, noise(2, 3, 11)), expected)


@pytest.mark.parametrize("number", range(len(GRID)))
def test_a_tcn_of_ours_stands_for_what_it_can(number, carried):
    _, directory = carried(number)
    chosen, spec = arguments(number), read_checkpoint(directory)[0]
    same = not chosen["use_skip_connections"] and chosen["activation"] in ("relu", "linear")
    assert spec.layers["tcn" if "tcn" in spec.layers else next(iter(spec.layers))].kind == (
        "tcn" if same else "graph"
    )


@pytest.mark.parametrize("length", [8, 9])
@pytest.mark.parametrize("fixed", [True, False])
def test_same_returns_the_middle_step(length, fixed, backend, tmp_path):
    chosen = {**arguments(2), "return_sequences": False}
    assert chosen["padding"] == "same"
    model = net(chosen, length if fixed else None)
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "ours")
    x = noise(2, 3, length)
    assert_close(ours(tmp_path / "ours", backend, x), output(model, x))


def test_a_causal_net_streams(backend, tmp_path):
    chosen = {**arguments(1), "activation": "tanh"}
    x = keras.Input((None, 3))
    model = filled(keras.Model(x, TCN(**chosen)(x)))
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "ours")
    mine, signal = tcnzoo.load(tmp_path / "ours", backend), noise(2, 3, 17)
    assert_close(stream(mine, signal, [1, 4, 5, 12])[0], output(model, signal))


def test_several_nets_and_layers_in_one_chain(tmp_path):
    x = keras.Input((None, 3))
    y = TCN(4, 2, dilations=[1, 2], return_sequences=True)(layers.Conv1D(3, 2)(x))
    y = TCN(5, 3, dilations=[2], padding="same", use_batch_norm=True, activation="elu")(y)
    model = filled(keras.Model(x, layers.Dense(2)(y)))
    model.save(tmp_path / "net.keras")
    report = convert(tmp_path / "net.keras", tmp_path / "ours")
    assert [layer.kind for layer in report.spec.layers.values()] == [
        "conv1d", "graph", "graph", "pool", "dense",
    ]  # fmt: skip
    assert_close(ours(tmp_path / "ours", "numpy", noise(2, 3, 9)), output(model, noise(2, 3, 9)))


def test_what_no_output_reads_is_dropped(tmp_path):
    # One block: the skip connection is its inner output, and its residual sum goes nowhere.
    model = net({"nb_filters": 4, "kernel_size": 2, "dilations": [1]})
    model.save(tmp_path / "net.keras")
    report = convert(tmp_path / "net.keras", tmp_path / "ours")
    assert [path.split("/")[-3] for path in report.dropped] == ["matching_conv1D"] * 2
    assert "which no output reads" in next(iter(report.dropped.values()))
    assert_close(ours(tmp_path / "ours", "numpy", noise(2, 3, 9)), output(model, noise(2, 3, 9)))


@pytest.mark.parametrize("number", [0, 7, 9, 20])
def test_weights_alone_are_read_with_hints(number, carried, tmp_path):
    _, directory = carried(number)
    model, chosen = net(arguments(number)), arguments(number)
    model.save_weights(tmp_path / "net.weights.h5")
    question = inspect(tmp_path / "net.weights.h5")
    assert question.format == "keras-tcn"
    asked = ("dilations", "padding", "use_skip_connections", "return_sequences", "activation")
    assert f"does not determine {', '.join(asked)}, dense_activations; give" in question.missing
    hints = {name: chosen[name] for name in (*asked, "dropout_rate")}
    hints |= {"dilations": ",".join(map(str, chosen["dilations"])), "dense_activations": "softmax"}
    report = convert(tmp_path / "net.weights.h5", tmp_path / "alone", hints=hints)
    spec, weights = read_checkpoint(tmp_path / "alone")
    expected, same = read_checkpoint(directory)
    assert list(spec.layers.values()) == list(expected.layers.values())
    assert "dropout_rate" not in report.assumed
    assert_same_bits(list_of(weights), list_of(same))


def list_of(weights):
    """Weights by their place instead of their names, which hold the layers' own."""
    return dict(enumerate(weights.values()))


def test_weights_alone_are_read_with_what_the_model_says(carried, tmp_path):
    _, directory = carried(4)
    model = net(arguments(4))
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.json").write_text(model.to_json())
    hints = {"config": str(tmp_path / "net.json")}
    convert(tmp_path / "net.weights.h5", tmp_path / "alone", hints=hints)
    weights, expected = (read_checkpoint(one)[1] for one in (tmp_path / "alone", directory))
    assert_same_bits(list_of(weights), list_of(expected))


HINTS = {
    "dilations": [1, 2], "padding": "causal", "use_skip_connections": True,
    "return_sequences": False, "activation": "relu", "dense_activations": "softmax",
}  # fmt: skip


@pytest.mark.parametrize(
    "change, error, sentence",
    [
        ({"dilations": [1, 2, 4]}, InputError, "has 2 blocks, which is no multiple of the 3"),
        ({"dilations": "many"}, SpecError, "must be a list"),
        ({"padding": "valid"}, SpecError, "must be causal or same, but is 'valid'"),
        ({"dense_activations": ["relu", "softmax"]}, InputError, "must name one activation for"),
        ({"config": "x.json"}, InputError, "the hint config says all of a model"),
        ({"kernel": 3}, InputError, "takes no hint 'kernel'"),
    ],
)
def test_hints_that_do_not_fit_are_refused(change, error, sentence, carried, tmp_path):
    net({"nb_filters": 4, "kernel_size": 2, "dilations": [1, 2]}).save_weights(
        tmp_path / "net.weights.h5"
    )
    with pytest.raises(error) as raised:
        convert(tmp_path / "net.weights.h5", tmp_path / "ours", hints={**HINTS, **change})
    assert sentence in str(raised.value)
    assert not (tmp_path / "ours").exists()


def test_the_direction_of_weights_alone_is_assumed_by_name(tmp_path):
    chosen = {"nb_filters": 4, "kernel_size": 2, "dilations": [1, 2], "go_backwards": True}
    net(chosen).save_weights(tmp_path / "net.weights.h5")
    report = convert(tmp_path / "net.weights.h5", tmp_path / "ours", hints=HINTS)
    assumed = {"layers": "TCN before Dense", "go_backwards": False, "dropout_rate": 0.0}
    assert report.assumed == assumed
    assert inspect(tmp_path / "net.weights.h5", hints=HINTS).assumed == assumed
    hints = {**HINTS, "go_backwards": "true"}
    with pytest.raises(SpecError, match="goes backwards"):
        convert(tmp_path / "net.weights.h5", tmp_path / "other", hints=hints)
    forwards = {**HINTS, "go_backwards": "false"}
    said = convert(tmp_path / "net.weights.h5", tmp_path / "said", hints=forwards)
    assert "go_backwards" not in said.assumed


@pytest.mark.parametrize(
    "make",
    [
        lambda x: layers.Dense(2)(layers.GlobalAveragePooling1D()(x)),
        lambda x: layers.Activation("softmax")(layers.Dense(2)(x)),
        lambda x: layers.Dense(2)(layers.UpSampling1D(2)(x)),
    ],
    ids=["global_average_pooling1d", "activation", "up_sampling1d"],
)
def test_layers_whose_place_weights_do_not_say_are_asked_for(make, request, tmp_path):
    """Keras writes a group for a layer without variables, too, but not where it stands."""
    x = keras.Input((11, 3))
    chosen = {"nb_filters": 4, "kernel_size": 2, "dilations": [1, 2], "return_sequences": True}
    model = filled(keras.Model(x, make(TCN(**chosen)(x))), 3)
    path = tmp_path / "net.weights.h5"
    model.save_weights(path)
    (tmp_path / "net.json").write_text(model.to_json())
    with pytest.raises(InputError) as caught:
        convert(path, tmp_path / "ours", hints={**HINTS, "return_sequences": True})
    layer = request.node.callspec.id
    assert f"beside TCN and Dense ({layer}), whose place and options it does not" in str(
        caught.value
    )
    assert not (tmp_path / "ours").exists()
    convert(path, tmp_path / "ours", hints={"config": str(tmp_path / "net.json")})
    found = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), noise(2, 3, 11))
    right = output(model, noise(2, 3, 11))
    assert_close(found, right)


def test_what_is_not_read_or_written_is_refused(carried, tmp_path):
    _, directory = carried(0)
    net({**arguments(0), "go_backwards": True}).save(tmp_path / "back.keras")
    assert "goes backwards (go_backwards)" in refusal(tmp_path / "back.keras", kind=SpecError)
    assert "format keras-tcn" in refusal(tmp_path / "back.keras", "keras-sequential", SpecError)
    with pytest.raises(SpecError, match="'keras-tcn' is read only"):
        convert(directory, tmp_path / "net.keras", to_format="keras-tcn")


def test_a_class_of_the_same_name_is_refused(tmp_path):
    net(arguments(0)).save(tmp_path / "net.keras")

    def change(held):
        config = json.loads(held["config.json"])
        config["config"]["layers"][1].update(module="mine.nets")
        held["config.json"] = json.dumps(config).encode()

    rewritten(tmp_path / "net.keras", change)
    assert "is a TCN of mine.nets, not keras-tcn's" in refusal(
        tmp_path / "net.keras", kind=SpecError
    )


# Files of Keras 2, with which alone keras-tcn has weight norm


def _convolutions(model):
    """Each convolution of the blocks, with its block and its name."""
    for level, block in enumerate(model.layers[1].residual_blocks):
        for name in ("conv1D_0", "conv1D_1", "matching_conv1D"):
            if hasattr(block, name):
                yield f"residual_block_{level}", name, getattr(block, name)


def _named(model, normed, run):
    """Variables of a legacy file, by their names."""
    _, tcn, dense = (layer.name for layer in model.layers)
    held = {f"{dense}/{dense}/{one.name}:0": one for one in model.layers[2].variables}
    for block, name, layer in _convolutions(model):
        owner = f"{tcn}/{tcn}/{block}/{name}"
        if normed and name.startswith("conv"):
            held[f"{owner}/g:0"], held[f"{owner}/kernel:0"] = _normed(layer)
            held[f"{owner}/initialized:0"] = run
            held[f"{owner}/data_dep_init/kernel:0"] = layer.kernel
        else:
            held[f"{owner}/kernel:0"] = layer.kernel
        held[f"{owner}/bias:0"] = layer.bias
    return held


def _placed(model, normed, run):
    """Variables of a .keras file, by their places."""
    held = {f"dense/vars/{index}": one for index, one in enumerate(model.layers[2].variables)}
    for block, name, layer in _convolutions(model):
        owner = f"tcn/{block}/{name}"
        if normed and name.startswith("conv"):
            owner = f"tcn/{block}/layers/weight_normalization{'_1' if name[-1] == '1' else ''}"
            held[f"{owner}/vars/0"], held[f"{owner}/vars/1"] = _normed(layer)
            held[f"{owner}/vars/2"] = run
            held[f"{owner}/_naked_clone_layer/vars/0"] = layer.kernel
            held[f"{owner}/layer/vars/0"] = layer.bias
        else:
            held[f"{owner}/vars/0"], held[f"{owner}/vars/1"] = layer.kernel, layer.bias
    return held


def _normed(layer):
    """A gain and a direction, whose kernel the layer is given."""
    generator = np.random.default_rng(layer.kernel.shape[1])
    direction = generator.normal(size=layer.kernel.shape).astype(np.float32)
    gain = generator.uniform(0.5, 1.5, direction.shape[-1]).astype(np.float32)
    layer.kernel.assign(gain * direction / np.sqrt((direction**2).sum((0, 1))))
    return gain, direction


def _write_old(path, model, normed, run=True):
    """Write a model as keras-tcn 3.5.0 under Keras 2.13 would, .h5 or .keras."""
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["config"] |= {"use_weight_norm": normed}
    named = path.suffix == ".h5"
    held = (_named if named else _placed)(model, normed, run)
    content = io.BytesIO()
    with h5py.File(path if named else content, "w") as file:
        root = "model_weights" if named else "_layer_checkpoint_dependencies"
        for name, values in held.items():
            file[f"{root}/{name}"] = np.asarray(values)
        if named:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.13.1"
    if not named:
        with zipfile.ZipFile(path, "w") as opened:
            opened.writestr("metadata.json", json.dumps({"keras_version": "2.13.1"}))
            opened.writestr("config.json", json.dumps(config))
            opened.writestr("model.weights.h5", content.getvalue())


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_files_of_keras_2_with_weight_norm_are_read(ending, normed, skip, tmp_path):
    chosen = {"nb_filters": 4, "kernel_size": 2, "dilations": [1, 2], "use_skip_connections": skip}
    model = net(chosen)
    _write_old(tmp_path / f"net.{ending}", model, normed)
    report = convert(tmp_path / f"net.{ending}", tmp_path / "ours")
    assert report.from_format == "keras-tcn"
    assert len(report.dropped) == 8 * normed
    assert any("weight_g" in name for name in report.spec.params()) == normed
    x = noise(2, 3, 9)
    assert_close(ours(tmp_path / "ours", "numpy", x), output(model, x))


@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_a_weight_norm_that_data_is_still_to_set_is_refused(ending, tmp_path):
    model = net({"nb_filters": 4, "kernel_size": 2, "dilations": [1, 2]})
    _write_old(tmp_path / f"net.{ending}", model, True, run=False)
    assert "has never seen data, which sets its gain" in refusal(tmp_path / f"net.{ending}")
