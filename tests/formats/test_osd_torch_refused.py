"""Hints, files and models that the osd-torch format refuses, and what its pickles may hold."""

import re

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import write_checkpoint
from tcnzoo.errors import InputError, SpecError
from tcnzoo.formats.protocol import convert
from tcnzoo.zoo.foreign.osd import deepepi_document
from tests.support.checkpoints import refusal
from tests.support.compare import weights_of
from tests.support.osd_nets import DENSE, FILTERS, checkpoint, torch_net

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "hints, sentence",
    [
        ({"conv_dropout": 0.1}, "the hint conv_dropout=0.1 contradicts .* conv_dropout=0.0"),
        ({"dense_dropout": 0.1}, "the hint dense_dropout=0.1 contradicts .* dense_dropout=0.3"),
        ({"strides": [1, 2]}, "the hint strides must be 6 numbers, one for each convolution"),
        ({"strides": 2}, "the hint strides must be 6 numbers"),
        ({"conv_dropuot": 0.1}, "takes no hint 'conv_dropuot'; did you mean 'conv_dropout'"),
    ],
)
def test_hints_that_do_not_fit_are_refused(hints, sentence, tmp_path):
    checkpoint(tmp_path / "net.pt", torch_net(), conv_dropout=0.0, dense_dropout=0.3)
    with pytest.raises(InputError, match=sentence):
        convert(tmp_path / "net.pt", tmp_path / "ours", hints=hints)
    assert not (tmp_path / "ours").exists()


def test_a_hint_against_the_places_is_refused(tmp_path):
    torch.save(torch_net(conv_dropout=0.2).state_dict(), tmp_path / "net.pt")
    with pytest.raises(InputError, match="conv_dropout=0 contradicts .* with dropout"):
        convert(tmp_path / "net.pt", tmp_path / "ours", hints={"conv_dropout": 0})


def test_hints_against_our_own_export_are_refused(tmp_path):
    torch.save(torch_net().state_dict(), tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="osd-torch")
    with pytest.raises(InputError, match="the hint dense_dropout=0.9 contradicts"):
        convert(tmp_path / "back.pt", tmp_path / "again", hints={"dense_dropout": 0.9})


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_rate_against_the_places_is_refused(rate, tmp_path):
    checkpoint(tmp_path / "net.pt", torch_net(conv_dropout=0.4 - rate), conv_dropout=rate)
    assert f"says conv_dropout={rate}, but its convolutions are" in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda state: state.update({"head.weight": torch.ones(2)}), "is no part of the net"),
        (
            lambda state: state.pop("conv_stack.1.bias"),
            "1 are missing, the first 'conv1.norm.bias'",
        ),
        (lambda state: state.update({"bn2.bias": torch.ones(3)}), "must have shape .8,."),
        (
            lambda state: state.pop("conv_stack.3.weight"),
            "every third place, .* are at 0, 6, 9, 12",
        ),
        (lambda state: state.pop("fc1.weight"), "must hold the kernels of conv_stack, fc1"),
        (lambda state: state.update({"fc3.weight": torch.ones(3)}), "must hold the kernels"),
    ],
)
def test_files_of_another_net_are_refused(change, sentence, tmp_path):
    state = dict(torch_net().state_dict())
    change(state)
    torch.save({"model_state_dict": state}, tmp_path / "net.pt")
    assert re.search(sentence, refusal(tmp_path / "net.pt"))


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"model_state_dict": 3}, tmp_path / "net.pt")
    assert "must hold a state_dict" in refusal(tmp_path / "net.pt", "osd-torch")


# Models that the origin's net is not


SMALL = {"filters": FILTERS, "dense": DENSE}


@pytest.mark.parametrize(
    "document, sentence",
    [
        (deepepi_document("keras", **SMALL), "conv1.norm.(eps|momentum) must be"),
        (deepepi_document("torch", **SMALL, strides=[1] * 6), "conv5.stride must be 2, but is 1"),
        (deepepi_document("torch", **SMALL, softmax=True), "for logits, but this is .*activation"),
        ({"kind": "dense", "in_features": 3, "out_features": 2}, "but this is dense"),
        ("tcn-base", "osd-torch holds a DeepEpi net"),
    ],
)
def test_a_model_that_the_origin_has_not_is_refused(document, sentence, tmp_path):
    spec = tcnzoo.load_spec(document)
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    with pytest.raises(SpecError, match=sentence):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="osd-torch")
    assert not (tmp_path / "net.pt").exists()


def test_the_presets_of_the_text_and_of_keras_are_refused(tmp_path):
    for name, sentence in (("deepepi", "conv14.stride must be 1"), ("deepepi-osd", "eps|momentum")):
        spec = tcnzoo.load_spec(name)
        write_checkpoint(tmp_path / name, spec, weights_of(spec))
        with pytest.raises(SpecError, match=sentence):
            convert(tmp_path / name, tmp_path / "net.pt", to_format="osd-torch")


def test_dropout_that_is_not_the_same_everywhere_is_refused(tmp_path):
    document = deepepi_document("torch", **SMALL)
    document["layers"]["conv3"]["dropout"] = 0.1
    spec = tcnzoo.load_spec(document)
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    with pytest.raises(SpecError, match="conv3.dropout must be 0.0, but is 0.1"):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="osd-torch")


# Pickles


def test_numbers_of_numpy_are_all_that_is_let_in(tmp_path):
    checkpoint(tmp_path / "net.pt", torch_net(), far=np.str_("none"))
    assert "so it was not run" in refusal(tmp_path / "net.pt")
    checkpoint(tmp_path / "net.pt", torch_net(), far=np.ones(3))
    assert "so it was not run" in refusal(tmp_path / "net.pt")


def test_allowed_names_are_as_before_afterwards(tmp_path):
    before = torch.serialization.get_safe_globals()
    checkpoint(tmp_path / "net.pt", torch_net())
    convert(tmp_path / "net.pt", tmp_path / "ours")
    assert set(torch.serialization.get_safe_globals()) == set(before)
