"""Specs as dictionaries, YAML and JSON: read, written, overridden, and described by a schema."""

import json

import pytest
import yaml
from pydantic import ValidationError

import tcnzoo
from tcnzoo.specs import SPEC_ADAPTER
from tcnzoo.specs.sequential import RESERVED
from tests.support.cases import BLOCKS
from tests.support.compare import assert_close, assert_same_bits, noise, reference, weights_of
from tests.support.tcns import tcn

DOCUMENTS = {
    **{name: spec for name, (spec, _) in BLOCKS.items()},
    "tcn": tcn(
        "concat", "cumulative", kernel_size=[1, 2, 3], dilations=[3, 1, 2], norm="batch_norm"
    ),
    **{name: name for name in tcnzoo.list_models()},
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_round_trip_through_every_form(name, tmp_path):
    spec = tcnzoo.load_spec(DOCUMENTS[name])
    document = spec.model_dump(mode="json")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (tmp_path / "spec.json").write_text(json.dumps({"spec": document}))
    for form in (spec, document, tmp_path / "spec.yaml", str(tmp_path / "spec.json")):
        assert tcnzoo.load_spec(form) == spec


def test_words_stand_for_whole_specs():
    short = {"norm": "batch_norm", "activation": "gelu", "embeddings": [3], "initializer": "normal"}
    long = {
        "norm": {"kind": "batch_norm", "eps": 1e-5, "momentum": 0.1},
        "activation": {"kind": "activation", "name": "gelu"},
        "embeddings": [{"channels": 3, "per_step": False}],
        "initializer": {"name": "normal", "gain": None},
    }
    assert tcnzoo.load_spec({**tcn(), **short}) == tcnzoo.load_spec({**tcn(), **long})
    assert tcnzoo.load_spec(tcn(norm="none")) == tcnzoo.load_spec(tcn(norm=None))


def test_defaults_on_which_frameworks_disagree_are_in_the_document():
    document = tcnzoo.load_spec(tcn(norm="batch_norm", activation="leaky_relu")).model_dump()
    assert document["norm"] == {
        "kind": "batch_norm",
        "channels": None,
        "eps": 1e-5,
        "momentum": 0.1,
    }
    assert document["activation"]["slope"] == 0.01


def test_overrides_reach_inner_fields():
    changed = {"layers.conv14.stride": 1, "layers.logits.out_features": 3}
    spec = tcnzoo.load_spec("deepepi", **changed)
    assert (spec.layers["conv14"].stride, spec.layers["logits"].out_features) == (1, 3)
    widths = tcnzoo.load_spec(tcn(), **{"channels.1": 9})
    assert widths.channels == (4, 9, 6)


def test_osd_preset_differs_in_stride_and_batch_norm_only():
    osd = tcnzoo.load_spec("deepepi-osd").model_dump()["layers"]
    plain = tcnzoo.load_spec("deepepi").model_dump()["layers"]
    plain["conv14"]["stride"] = 1
    for layer in plain.values():
        if "norm" in layer:
            layer["norm"] |= {"eps": 1e-3, "momentum": 0.01}
    assert osd == plain


def test_specs_are_frozen():
    spec = tcnzoo.load_spec(tcn())
    with pytest.raises(ValidationError, match="frozen"):
        spec.gate = True


def test_schema_is_json_and_names_every_kind():
    schema = json.loads(json.dumps(SPEC_ADAPTER.json_schema()))
    kinds = {spec["kind"] for spec, _ in BLOCKS.values()} | {"tcn", "vq_hdp_hsmm"}
    assert kinds == set(schema["discriminator"]["mapping"])


def test_presets_say_where_they_come_from():
    for name in tcnzoo.list_models():
        preset = tcnzoo.zoo.catalog.preset(name)
        assert preset.name == name
        assert all((preset.description, preset.source, preset.licence))
        facts, spec = preset.input, tcnzoo.load_spec(name)
        shape = (facts.channels, *([facts.devices] if facts.devices else []), facts.length)
        assert spec.output_shape(shape)
        assert spec.signal_shape(facts.length, facts.channels) == shape


def test_encoder_presets_give_512_by_960():
    for name in ("tcn-eeg-encoder", "tcn-eeg-encoder-rf12s"):
        assert tcnzoo.load_spec(name).output_shape((19, 15360)) == (512, 960)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_layer_names_are_refused(name):
    layers = {name: {"kind": "glu"}}
    with pytest.raises(tcnzoo.SpecError, match=f"layer name '{name}' is reserved"):
        tcnzoo.load_spec({"kind": "sequential", "layers": layers})


# Names that a framework uses for itself, in its modules or in the dictionaries that they are.
AWKWARD = [
    "apply", "children", "compile", "eval", "float", "forward", "modules", "optional", "options",
    "parameters", "part", "state_dict", "train", "training", "type", "zero_grad",
    "activation", "arrays", "bias", "build", "built", "call", "clear", "compute", "copy", "dtype",
    "eps", "freeze", "get", "input", "inputs", "items", "keys", "kernel", "layers", "losses",
    "metrics", "name", "norm", "observer", "output", "outputs", "parts", "place", "pop", "root",
    "state", "stop", "trainable", "unfreeze", "update", "values", "variables", "walk", "weight",
    "weights",
]  # fmt: skip


def test_names_that_other_frameworks_use_work(backend):
    layer = {"kind": "conv1d", "in_channels": 2, "out_channels": 2, "kernel_size": 1}
    spec = {"kind": "sequential", "layers": dict.fromkeys(AWKWARD, layer)}
    plain = {"kind": "sequential", "layers": {f"l{i}": layer for i in range(len(AWKWARD))}}
    x, weights = noise(1, 2, 3), weights_of(spec)
    renamed = dict(zip(tcnzoo.load_spec(plain).params(), weights.values(), strict=True))
    model = tcnzoo.create(spec, backend, weights=weights)
    assert_close(tcnzoo.predict(model, x), tcnzoo.predict(reference(plain, renamed), x))
    assert_same_bits(tcnzoo.get_weights(model), weights)
