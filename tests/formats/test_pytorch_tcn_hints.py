"""What pytorch-tcn's files leave open and hints settle; files and models that are refused."""

import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.compare import assert_close, noise
from tests.support.pytorch_tcn_nets import net, saved

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_tcn")

PLAIN = {"num_inputs": 3, "num_channels": [4, 5], "kernel_size": 3}
HINTS = {"causal": True, "activation": "relu", "output_activation": "none"}


def test_shapes_determine_the_net(tmp_path):
    chosen = {"num_inputs": 3, "num_channels": [5, 4, 6], "dilations": [4, 1, 2], "kernel_size": 5}
    chosen |= {"use_gate": True, "use_norm": "layer_norm", "output_projection": 7}
    saved({**chosen, "use_skip_connections": True}, tmp_path / "net.pt")
    spec = convert(tmp_path / "net.pt", tmp_path / "ours", hints=HINTS).spec
    assert (spec.in_channels, spec.channels, spec.kernel_sizes) == (3, (5, 4, 6), (5, 5, 5))
    assert (spec.dilation_of, spec.norm.kind) == ((4, 1, 2), "layer_norm")
    assert (spec.gate, spec.skip_connections, spec.output_projection) == (True, True, 7)


def missing(tmp_path, chosen, hints=(), change=None):
    """The sentence that asks for what is not determined."""
    state = net(chosen).state_dict()
    torch.save(change(state) if change else state, tmp_path / "net.pt")
    with pytest.raises(Undetermined) as raised:
        convert(tmp_path / "net.pt", tmp_path / "ours", hints=dict(hints))
    assert not (tmp_path / "ours").exists()
    return str(raised.value)


def test_what_is_not_determined_is_asked_for_at_once(tmp_path):
    sentence = missing(tmp_path, PLAIN)
    assert "does not determine causal, activation, output_activation;" in sentence
    words = ("causal=true", "activation=relu", "output_activation=none")
    assert sentence.endswith(" ".join(f"--set {word}" for word in words))


def test_a_hint_that_is_there_is_not_asked_for(tmp_path):
    assert "determine activation, output_activation;" in missing(tmp_path, PLAIN, {"causal": False})


def test_skip_connections_without_tensors_are_asked_for(tmp_path):
    chosen = {**PLAIN, "num_channels": [4, 4]}
    assert "--set skip_connections=false" in missing(tmp_path, chosen)


def test_embeddings_are_asked_for_with_their_width(tmp_path):
    sentence = missing(tmp_path, {**PLAIN, "embedding_shapes": [(4,), (3,)]})
    assert "--set embeddings=7 --set embedding_mode=add" in sentence


@pytest.mark.parametrize("projection", [None, 2])
def test_the_output_activation_is_asked_for(projection, tmp_path):
    chosen = {**PLAIN, "output_projection": projection, "output_activation": "tanh"}
    hints = {"causal": True, "activation": "relu"}
    assert "--set output_activation=none" in missing(tmp_path, chosen, hints)
    report = convert(
        tmp_path / "net.pt", tmp_path / "ours", hints={**HINTS, "output_activation": "tanh"}
    )
    x = noise(2, 3, 20)
    with torch.no_grad():
        right = net(chosen)(torch.from_numpy(x).float()).numpy()
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x), right)
    assert report.spec.output_activation.name == "tanh"


def with_old_buffers(state):
    """The names of versions before 1.2.2."""
    return {name.replace(".padder.buffer", ".buffer"): one for name, one in state.items()}


@pytest.mark.parametrize("causal", [True, False])
def test_the_lookahead_of_an_old_version_is_assumed(causal, tmp_path):
    """Up to version 1.1 a causal net may look ahead, with the same tensors."""
    torch.save(with_old_buffers(net(PLAIN).state_dict()), tmp_path / "net.pt")
    hints = {**HINTS, "causal": causal}
    assumed = convert(tmp_path / "net.pt", tmp_path / "ours", hints=hints).assumed
    assert assumed == ({"lookahead": 0, "dropout": 0.1} if causal else {"dropout": 0.1})
    said = convert(tmp_path / "net.pt", tmp_path / "said", hints={**hints, "lookahead": 0})
    assert "lookahead" not in said.assumed
    with pytest.raises(SpecError, match="lookahead=2 has no counterpart"):
        convert(tmp_path / "net.pt", tmp_path / "other", hints={**hints, "lookahead": "2"})


def test_dilations_are_asked_for_where_no_buffer_says_them(tmp_path):
    def without_buffers(state):
        return {name: tensor for name, tensor in state.items() if "buffer" not in name}

    assert "--set dilations=1,2" in missing(tmp_path, PLAIN, change=without_buffers)


def test_dilations_of_one_tap_are_not_asked_for(tmp_path):
    sentence = missing(tmp_path, {**PLAIN, "kernel_size": 1})
    assert "--set dilations" not in sentence


def test_assumptions_are_reported(tmp_path):
    saved(PLAIN, tmp_path / "net.pt")
    report = convert(tmp_path / "net.pt", tmp_path / "ours", hints=HINTS)
    assert report.assumed == {"dropout": 0.1}


def test_dropped_tensors_have_reasons(tmp_path):
    chosen = {**PLAIN, "use_norm": "batch_norm", "embedding_shapes": [(4,)]}
    saved(chosen, tmp_path / "net.pt")
    hints = {**HINTS, "causal": 1, "embeddings": 4, "embedding_mode": "add"}
    dropped = convert(tmp_path / "net.pt", tmp_path / "ours", hints=hints).dropped
    assert dropped["network.0.conv1.padder.buffer"] == "streaming state, not a weight"
    assert "no output" in dropped["network.1.norm2.num_batches_tracked"]
    assert dropped["network.0.embedding_projection_2.weight"] == "unused by embedding_mode add"
    assert len(dropped) == 2 * (2 + 2 + 2)


def test_inspect_shows_what_is_known_and_what_is_missing(tmp_path):
    saved(PLAIN, tmp_path / "net.pt")
    found = inspect(tmp_path / "net.pt")
    assert (found.format, found.spec) == ("pytorch-tcn", None)
    assert found.known["channels"] == [4, 5]
    assert found.known["dilations"] == [1, 2]
    assert "causal, activation" in found.missing
    places = {row.name: row.used_as for row in found.tensors}
    name = "network.1.conv2.parametrizations.weight.original1"
    assert places[name] == "blocks.1.conv2.weight_v"
    full = inspect(tmp_path / "net.pt", hints=HINTS)
    assert full.spec.causal
    assert all(row.used_as or row.dropped for row in full.tensors)


# Hints


@pytest.mark.parametrize(
    "hints, sentence",
    [
        ({"channels": [4, 6]}, "the hint channels=.4, 6. contradicts .*says channels=.4, 5."),
        ({"dilations": "1,4"}, "the hint dilations=.1, 4. contradicts .*says dilations=.1, 2."),
        ({"dilation_reset": 1}, "the hint dilation_reset=1 contradicts .*says dilations=.1, 2."),
        ({"kernel_size": 5}, "the hint kernel_size=5 contradicts"),
        ({"norm": "none"}, "the hint norm=none contradicts .*says norm=weight_norm"),
        ({"gate": "true"}, "the hint gate=True contradicts"),
        ({"skip_connections": True}, "the hint skip_connections=True contradicts"),
        ({"embeddings": 4}, "have 0 channels in all, but the hint embeddings=4 makes 4"),
        ({"use_gate": True}, "takes no hint 'use_gate'; did you mean 'gate'"),
        ({"dilation": [1, 2]}, "takes no hint 'dilation'; did you mean 'dilations'"),
        ({"causal": "[1"}, "hint 'causal' is no value: '.1'"),
    ],
)
def test_hints_that_cannot_be_are_refused(hints, sentence, tmp_path):
    saved(PLAIN, tmp_path / "net.pt")
    with pytest.raises(InputError, match=sentence):
        convert(tmp_path / "net.pt", tmp_path / "ours", hints={**HINTS, **hints})


@pytest.mark.parametrize(
    "hints",
    [
        {"channels": (4, 5), "kernel_size": [3, 3], "norm": "weight_norm", "gate": "false"},
        {"dilations": "1, 2", "dropout": 0.3},
        {"dilation_reset": 2},
    ],
)
def test_hints_may_repeat_what_the_file_says(hints, tmp_path):
    saved(PLAIN, tmp_path / "net.pt")
    spec = convert(tmp_path / "net.pt", tmp_path / "ours", hints={**HINTS, **hints}).spec
    assert spec.dilation_of == (1, 2)


@pytest.mark.parametrize("field", ["activation", "output_activation"])
def test_softmax_over_the_batch_is_refused(field, tmp_path):
    saved(PLAIN, tmp_path / "net.pt")
    with pytest.raises(SpecError, match=f"{field} 'softmax' cannot .* batch .* channels"):
        convert(tmp_path / "net.pt", tmp_path / "ours", hints={**HINTS, field: "softmax"})


def test_a_value_that_no_tcn_has_is_refused(tmp_path):
    saved(PLAIN, tmp_path / "net.pt")
    with pytest.raises(SpecError, match="but got 'rleu'"):
        convert(tmp_path / "net.pt", tmp_path / "ours", hints={**HINTS, "activation": "rleu"})


# Files that are no such net


def changed(tmp_path, change):
    """Convert the file of a net after a change to its state_dict."""
    state = dict(net(PLAIN).state_dict())
    change(state)
    torch.save(state, tmp_path / "net.pt")
    return convert(tmp_path / "net.pt", tmp_path / "ours", hints=HINTS)


def test_a_tensor_of_no_part_is_refused(tmp_path):
    with pytest.raises(WeightError, match="'head.weight' of .* is no part of the net"):
        changed(tmp_path, lambda state: state.update({"head.weight": torch.ones(2, 3)}))


def test_a_missing_tensor_is_refused(tmp_path):
    with pytest.raises(WeightError, match="1 are missing, the first 'blocks.1.conv2.bias'"):
        changed(tmp_path, lambda state: state.pop("network.1.conv2.bias"))


def test_a_missing_block_is_refused(tmp_path):
    def without_second_kernel(state):
        del state["network.1.conv2.parametrizations.weight.original1"]

    with pytest.raises(WeightError, match="'network.1.conv2' must have a kernel"):
        changed(tmp_path, without_second_kernel)


def test_a_misshapen_tensor_is_refused(tmp_path):
    with pytest.raises(WeightError, match="'blocks.0.conv1.bias' must have shape .4,."):
        changed(tmp_path, lambda state: state.update({"network.0.conv1.bias": torch.ones(7)}))


@pytest.mark.parametrize("steps", [3, 0])
def test_buffers_that_fit_no_dilation_are_refused(steps, tmp_path):
    buffer = {"network.0.conv1.padder.buffer": torch.zeros(1, 3, steps)}
    with pytest.raises(WeightError, match="does not fit 3 taps"):
        changed(tmp_path, lambda state: state.update(buffer))


def test_buffers_that_disagree_are_refused(tmp_path):
    buffer = {"network.0.conv1.padder.buffer": torch.zeros(1, 3, 4)}
    with pytest.raises(WeightError, match="say two dilations, .1, 2."):
        changed(tmp_path, lambda state: state.update(buffer))


# Models that pytorch-tcn cannot hold


TCN = {"kind": "tcn", "in_channels": 3, "channels": [4, 5], "kernel_size": 3}


@pytest.mark.parametrize(
    "spec, sentence",
    [
        ({**TCN, "squeeze_excitation": {"pool": "global"}}, "no squeeze_excitation"),
        ({**TCN, "kernel_size": [3, 5]}, "kernel_size must be the same .* but is .3, 5."),
        ({**TCN, "padding_mode": "reflect"}, "padding_mode must be 'zeros', but is 'reflect'"),
        ({**TCN, "norm": {"kind": "batch_norm", "eps": 1e-3}}, "norm.eps must be 1e-05"),
        ({**TCN, "norm": {"kind": "batch_norm", "momentum": 0.01}}, "norm.momentum must be 0.1"),
        ({**TCN, "norm": {"kind": "layer_norm", "eps": 1e-3}}, "norm.eps must be 1e-05"),
        ({**TCN, "activation": "silu"}, "activation must be one of relu, .* but is 'silu'"),
        ({**TCN, "activation": {"name": "leaky_relu", "slope": 0.3}}, "activation.slope must be"),
        ({**TCN, "activation": {"name": "elu", "alpha": 0.5}}, "activation.alpha must be 1.0"),
        ({**TCN, "output_activation": "softplus"}, "output_activation must be one of"),
        ({**TCN, "output_activation": "log_softmax"}, "over the batch"),
        ({"kind": "dense", "in_features": 3, "out_features": 2}, "'tcn', but this is a dense"),
        (
            {"kind": "sequential", "layers": {"body": TCN}},
            "'tcn', but this is a sequential of body",
        ),
    ],
)
def test_a_model_that_pytorch_tcn_cannot_hold_is_refused(spec, sentence, tmp_path):
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match=sentence):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="pytorch-tcn")
    assert not list(tmp_path.glob("net.*"))


def test_every_obstacle_is_named_at_once(tmp_path):
    spec = {**TCN, "padding_mode": "circular", "activation": "silu"}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match="padding_mode .*; activation"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="pytorch-tcn")


def test_a_json_of_something_else_is_not_replaced(tmp_path):
    tcnzoo.save(tcnzoo.create(TCN, "numpy"), tmp_path / "ours")
    (tmp_path / "net.json").write_text('{"notes": 1}')
    with pytest.raises(InputError, match="net.json', where the arguments .* holds something else"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="pytorch-tcn")
    assert (tmp_path / "net.json").read_text() == '{"notes": 1}'
    assert not (tmp_path / "net.pt").exists()
