"""Arrays beside the signal by name: which layers share them, and what a composition refuses."""

import pytest

import tcnzoo
from tests.support.cases import BLOCKS, conv1d, mask_token, node
from tests.support.compare import assert_refused
from tests.support.tcns import tcn


def _sequential(**layers):
    return {"kind": "sequential", "layers": layers}


def test_layers_share_arrays_of_one_name():
    spec = tcnzoo.load_spec(BLOCKS["sequential-masks"][0])
    assert [(side.role, side.name) for side in spec.embedding_specs] == [
        ("mask", "early"), ("embedding", None), ("embedding", "speaker"), ("mask", "late"),
        ("mask", "last"),
    ]  # fmt: skip
    assert spec.embedding_shapes((3, 9)) == [(9,), (4,), (2, 9), (4,), (5,)]


def test_embeddings_without_names_go_to_one_layer():
    block = {**tcn(), "embeddings": [2]}
    sentence = "one layer may take embeddings without a name, but one, two do"
    assert_refused(
        tcnzoo.SpecError,
        sentence,
        tcnzoo.load_spec,
        _sequential(one=block, two={**block, "in_channels": block["channels"][-1]}),
    )


def test_one_name_is_one_kind_of_array():
    block = {
        "kind": "temporal_block", "in_channels": 3, "channels": 3,
        "embeddings": [{"channels": 2, "name": "mask"}],
    }  # fmt: skip
    sentence = "layers 'one' and 'two' take different arrays under one name, 'mask'"
    assert_refused(
        tcnzoo.SpecError, sentence, tcnzoo.load_spec, _sequential(one=block, two=mask_token())
    )


def test_one_name_is_one_length():
    spec = _sequential(one=mask_token(), cls={"kind": "cls_token", "channels": 3}, two=mask_token())
    with pytest.raises(tcnzoo.SpecError, match="layers 'one' and 'two' share 'mask', which would"):
        tcnzoo.load_spec(spec)
    nodes = {
        "one": node(mask_token()),
        "down": node(conv1d(2, stride=2, out_channels=3), "one"),
        "two": node(mask_token(), "down"),
    }
    with pytest.raises(tcnzoo.SpecError, match="layers 'one' and 'two' share 'mask', which would"):
        tcnzoo.load_spec({"kind": "graph", "in_channels": 3, "nodes": nodes})


def test_a_mask_of_other_steps_than_those_of_the_input_stops_a_stream():
    down = conv1d(2, stride=2, out_channels=3)
    reason = "layer 'mask' takes a mask of its own steps, which are not those of the input"
    spec = tcnzoo.load_spec(_sequential(down=down, mask=mask_token()))
    assert reason in spec.streaming_blocker()
    graph = {"down": node(down), "mask": node(mask_token(), "down")}
    spec = tcnzoo.load_spec({"kind": "graph", "in_channels": 3, "nodes": graph})
    assert reason in spec.streaming_blocker()
    assert tcnzoo.load_spec(_sequential(mask=mask_token(), down=down)).streaming_blocker() is None


def test_a_temporal_block_takes_no_mask():
    with pytest.raises(tcnzoo.SpecError, match="role"):
        tcnzoo.load_spec({**tcn(), "embeddings": [{"channels": 2, "role": "mask"}]})
