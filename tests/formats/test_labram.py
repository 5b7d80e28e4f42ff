"""LaBraM and its tokenizer in and out: names, counts, dead parts, braindecode's numbers."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert
from tcnzoo.formats.report import Undetermined
from tcnzoo.zoo.foreign.labram import (
    Encoder,
    classifier_document,
    mem_document,
    tokenizer_document,
)
from tests.support.braindecode_nets import braindecode_models
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of

torch = pytest.importorskip("torch")

NAMES = ("FP1", "CZ", "O2")
STANDARD = tcnzoo.load_spec("labram-base").layers["electrode_embedding"].electrodes
SMALL = Encoder(
    channels=16, depth=2, heads=2, hidden=12, patch=32, out_channels=4, rows=3, electrodes=NAMES
)
WHOLE = Encoder(electrodes=STANDARD)
# The halves of the tokenizer have neither norms of queries and keys nor factors of the paths.
SMALL_HALF = replace(SMALL, qkv_bias="qv", qk_norm=False, layer_scale=None)
HALF = replace(WHOLE, qkv_bias="qv", qk_norm=False, layer_scale=None)
SIZES = {"codes": 7, "code_channels": 5, "bins": 9}
TOKENIZER = tokenizer_document(SMALL_HALF, replace(SMALL_HALF, depth=1), **SIZES)
MODELS = {
    "classifier": ("labram", classifier_document(SMALL, 3)),
    "cls": ("labram", classifier_document(replace(SMALL, qkv_bias="qv"), 2, "cls")),
    "features": ("labram", classifier_document(SMALL)),
    "plain": ("labram", classifier_document(replace(SMALL, layer_scale=None), 1)),
    "mem": ("labram", mem_document(SMALL, 5)),
    "mem-own": ("labram", mem_document(SMALL, 5, "own")),
    "tokenizer": ("labram-vqnsp", TOKENIZER),
}


def written(folder, name):
    """A checkpoint as the format has it, and the spec and weights it was made of."""
    form, document = MODELS[name]
    spec = tcnzoo.load_spec(document)
    tcnzoo.save(tcnzoo.create(spec, "numpy", weights=weights_of(spec)), folder / "start")
    convert(folder / "start", folder / "net.pth", to_format=form)
    return folder / "net.pth", spec, read_checkpoint(folder / "start")[1]


def state_in(path):
    """The tensors of a file without notes of ours."""
    document = torch.load(path, weights_only=True)
    document = document.get("state_dict", document)
    return {name: one for name, one in document.items() if isinstance(one, torch.Tensor)}


def size_of(tensors):
    return sum(one.numel() for one in tensors.values())


def hints_of(name):
    hints = {"electrodes": NAMES, "drop_path": 0.0}
    hints |= {"heads": 2} if name == "tokenizer" else {}
    return hints | ({"cls": "own"} if name == "mem-own" else {})


# --- Counts ---------------------------------------------------------------------------------------


def test_counts_of_the_classifier():
    specs = [tcnzoo.load_spec(classifier_document(WHOLE, n)) for n in (None, 1, 4)]
    sizes = [sum(int(np.prod(row.shape)) for row in spec.params().values()) for spec in specs]
    assert sizes == [5_819_936, 5_820_137, 5_820_740]
    assert specs[1] == tcnzoo.load_spec("labram-base")


def test_count_of_the_masked_model_with_its_dead_parts(tmp_path):
    spec = tcnzoo.load_spec("labram-mem")
    assert spec == tcnzoo.load_spec(mem_document(WHOLE))
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "start")
    convert(tmp_path / "start", tmp_path / "net.pth", to_format="labram")
    state = state_in(tmp_path / "net.pth")
    assert size_of(state) == 9_153_520
    report = convert(tmp_path / "net.pth", tmp_path / "ours")
    used = {name: state[name] for name in report.used}
    dead = {name: state[name] for name in report.dropped}
    assert (size_of(used), size_of(dead)) == (7_466_728, 1_646_592 + 40_200)
    assert {why.split(":")[0] for why in report.dropped.values()} == {"dead"}
    assert set(report.dropped) == {
        "student.lm_head.weight", "student.lm_head.bias",
        "projection_head.0.weight", "projection_head.0.bias",
    }  # fmt: skip


@pytest.mark.parametrize("width, count", [(32, 8_042_288), (64, 8_579_408)])
def test_counts_of_the_tokenizer(width, count, tmp_path):
    document = tokenizer_document(HALF, replace(HALF, depth=3), code_channels=width)
    spec = tcnzoo.load_spec(document)
    assert (spec == tcnzoo.load_spec("labram-vqnsp")) == (width == 64)
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "start")
    convert(tmp_path / "start", tmp_path / "net.pth", to_format="labram-vqnsp")
    state = state_in(tmp_path / "net.pth")
    # Buffers, which the original does not count among its parameters.
    buffers = {name: state.pop(name) for name in ("quantize.cluster_size",)}
    buffers["initted"] = state.pop("quantize.embedding.initted")
    assert (size_of(state), size_of(buffers)) == (count, 8192 + 1)


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_comes_back(name, tmp_path):
    path, spec, weights = written(tmp_path, name)
    report = convert(path, tmp_path / "again")
    assert (report.from_format, report.spec, report.assumed) == (MODELS[name][0], spec, {})
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights)
    assert set(report.used) | set(report.dropped) == set(state_in(path))


@pytest.mark.parametrize("prefix", ["", "model.", "tokenizer."])
@pytest.mark.parametrize("name", MODELS)
def test_a_state_dict_within_more_comes_back(name, prefix, tmp_path):
    path, spec, weights = written(tmp_path, name)
    state = state_in(path)
    more = {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 4}
    inner = {prefix + key: one for key, one in state.items()}
    torch.save({"model": inner, **more}, tmp_path / "more.pth")
    report = convert(tmp_path / "more.pth", tmp_path / "again", hints=hints_of(name))
    assert (report.from_format, report.spec) == (MODELS[name][0], spec)
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights)
    assert set(report.used) | set(report.dropped) == {
        *(f"model.{key}" for key in inner), "optimizer.state.0.exp_avg"
    }  # fmt: skip


def test_names_and_axes_are_those_of_the_original(tmp_path):
    state = state_in(written(tmp_path, "mem")[0])
    shapes = {name: tuple(one.shape) for name, one in state.items()}
    wanted = {
        "student.cls_token": (1, 1, 16),
        "student.mask_token": (1, 1, 16),
        "student.pos_embed": (1, 129, 16),
        "student.time_embed": (1, 3, 16),
        "student.patch_embed.conv1.weight": (4, 1, 1, 15),
        "student.patch_embed.conv2.weight": (4, 4, 1, 3),
        "student.blocks.1.gamma_2": (16,),
        "student.blocks.1.attn.qkv.weight": (48, 16),
        "student.blocks.1.attn.q_norm.weight": (8,),
        "student.blocks.1.mlp.fc1.weight": (12, 16),
        "student.norm.weight": (16,),
        "lm_head.weight": (5, 16),
    }
    assert {name: shapes[name] for name in wanted} == wanted


def test_names_of_the_tokenizer_are_those_of_the_original(tmp_path):
    state = state_in(written(tmp_path, "tokenizer")[0])
    shapes = {name: tuple(one.shape) for name, one in state.items()}
    wanted = {
        "quantize.cluster_size": (7,),
        "quantize.embedding.weight": (7, 5),
        "quantize.embedding.cluster_size": (7,),
        "quantize.embedding.embed_avg": (7, 5),
        "quantize.embedding.initted": (1,),
        "decoder.patch_embed.proj.weight": (16, 5, 1, 1),
        "encoder.fc_norm.weight": (16,),
        "encoder.blocks.0.attn.q_bias": (16,),
        "encode_task_layer.2.weight": (5, 16),
        "decode_task_layer_angle.2.weight": (9, 16),
    }
    assert {name: shapes[name] for name in wanted} == wanted


# --- braindecode ----------------------------------------------------------------------------------

VARIANTS = {
    "cls": {},
    "mean": {"use_mean_pooling": True, "qkv_bias": True, "mlp_ratio": 2.0},
    "bare": {"qk_norm": None, "init_values": None},
    "wide stem": {"conv_out_channels": 16, "embed_dim": 64, "num_heads": 8},
}


def labram_of(**fields):
    """braindecode's net with drawn weights."""
    made = {"patch_size": 32, "embed_dim": 32, "num_heads": 4, "num_layers": 2, "n_times": 64}
    names = [{"ch_name": name} for name in NAMES]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Labram chs_info does not match")
        net = braindecode_models().Labram(
            **{**made, "chs_info": names, "sfreq": 200, "n_outputs": 2, **fields}
        )
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for one in net.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) * 0.4)
    return net.eval()


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)
def test_braindecode_gives_the_same_numbers_both_ways(fields, tmp_path):
    net, x = labram_of(**fields), noise(2, 3, 64).astype(np.float32)
    net._save_pretrained(tmp_path)
    report = convert(tmp_path, tmp_path / "ours")
    assert (report.from_format, report.assumed, report.dropped) == ("braindecode", {}, {})
    assert len(report.used) == len(net.state_dict())
    with torch.no_grad():
        expected = net(torch.from_numpy(x), ch_names=list(NAMES)).numpy()
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "torch"), x), expected)
    convert(tmp_path / "ours", tmp_path / "back", to_format="braindecode")
    config = json.loads((tmp_path / "back" / "config.json").read_text("utf-8"))
    classes = {name: torch.nn.LayerNorm for name in ("qk_norm", "norm_layer") if config.get(name)}
    again = labram_of(**{**config, **classes})
    from safetensors.torch import load_file

    again.load_state_dict(load_file(tmp_path / "back" / "model.safetensors"), strict=True)
    with torch.no_grad():
        assert torch.equal(again(torch.from_numpy(x), ch_names=list(NAMES)), torch.tensor(expected))


def test_a_renamed_original_gives_the_numbers_of_braindecode(tmp_path):
    from tcnzoo.weights_convert.labram.names import in_braindecode

    path, spec, weights = written(tmp_path, "classifier")
    state = {in_braindecode(name): one for name, one in state_in(path).items()}
    net = labram_of(
        embed_dim=16, conv_out_channels=4, num_heads=2, mlp_ratio=0.75, n_outputs=3,
        use_mean_pooling=True,
    )  # fmt: skip
    net.load_state_dict(state, strict=True)
    x = noise(2, 3, 64).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x), ch_names=list(NAMES)).numpy()
    assert_close(tcnzoo.predict(tcnzoo.create(spec, "numpy", weights=weights), x), expected)


def test_braindecode_without_names_is_asked_for_them(tmp_path):
    net = labram_of(chs_info=None, n_chans=3)
    net._save_pretrained(tmp_path)
    with pytest.raises(Undetermined, match="which of its 128 they are.*electrodes="):
        convert(tmp_path, tmp_path / "ours")
    report = convert(tmp_path, tmp_path / "ours", hints={"electrodes": "FP1,CZ,O2"})
    assert report.spec.layers["electrode_embedding"].electrodes == NAMES


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, hints, error, sentence", [
    ({"pos_embed": torch.zeros(1, 91, 16)}, {}, WeightError,
     "must have 129 rows, .* but has 91: a checkpoint of another montage"),
    ({}, {"electrodes": ["FP1", "FCZZ", "O2"]}, SpecError, "'FCZZ' .* nearest name there is 'FCZ'"),
    ({"blocks.0.attn.relative_position_bias_table": torch.zeros(4, 2)}, {}, WeightError,
     "relative_position_bias_table' of .* is no part of the net"),
    ({}, {"heads": 4}, InputError, "heads=4 contradicts"),
    ({}, {"cls": "own"}, InputError, "the hint cls is of pre-trained models"),
])  # fmt: skip
def test_a_bad_file_or_hint_is_refused(change, hints, error, sentence, tmp_path):
    state = state_in(written(tmp_path, "classifier")[0]) | change
    torch.save({"model": state}, tmp_path / "bad.pth")
    with pytest.raises(error, match=sentence):
        convert(tmp_path / "bad.pth", tmp_path / "out", hints=hints)
    assert not (tmp_path / "out").exists()


def test_names_that_match_nothing_are_no_success(tmp_path):
    # A loader that is not strict takes none of these tensors and says nothing.
    state = state_in(written(tmp_path, "classifier")[0])
    wrong = {name.replace("blocks.", "layers."): one for name, one in state.items()}
    torch.save(wrong, tmp_path / "bad.pth")
    with pytest.raises(WeightError, match="must hold 'blocks.0.attn.qkv.weight'"):
        convert(tmp_path / "bad.pth", tmp_path / "out", from_format="labram")


def test_more_patches_than_rows_are_refused():
    model = tcnzoo.create(classifier_document(SMALL, 3), "numpy")
    with pytest.raises(InputError, match="3 rows.*4 patches came"):
        tcnzoo.predict(model, noise(1, 3, 128))


@pytest.mark.parametrize("form", ["labram", "labram-vqnsp"])
def test_another_model_is_not_written(form, tmp_path):
    spec = tcnzoo.load_spec({"kind": "layer_norm", "channels": 4})
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "start")
    with pytest.raises(SpecError, match="but this is another layer_norm"):
        convert(tmp_path / "start", tmp_path / "net.pth", to_format=form)
