"""Codebooks of vector-quantize-pytorch in and out, beside the library itself."""

import numpy as np
import pytest
import safetensors.numpy

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.inference.quantization import quantize
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of

torch = pytest.importorskip("torch")
vqp = pytest.importorskip("vector_quantize_pytorch")

NAME = "vector-quantize-pytorch"
ONE = {"dim": 5, "codebook_size": 7}
LEVELS = {**ONE, "num_quantizers": 3}
SPEC = {"kind": "vector_quantizer", "channels": 5, "codes": 7}


def trained(module, steps=3):
    """A module of the library after some steps on noise, in evaluation mode."""
    torch.manual_seed(0)
    for step in range(steps):
        module.train()(torch.from_numpy(noise(2, 31, 5, seed=step)).float())
    return module.eval()


def saved(path, module, prefix="", **more):
    state = {prefix + name: one for name, one in module.state_dict().items()}
    torch.save({**state, **more}, path)
    return path


def their_output(module, x):
    """Output and indices of the library, channels first."""
    with torch.no_grad():
        output, indices, _ = module(torch.from_numpy(x).float().mT)
    return output.mT.numpy(), (indices.mT if indices.ndim == 3 else indices).numpy()


MODULES = {
    "plain": (lambda: vqp.VectorQuantize(**ONE), {}),
    "cosine": (lambda: vqp.VectorQuantize(**ONE, use_cosine_sim=True), {"cosine": True}),
    "gradient": (
        lambda: vqp.VectorQuantize(**ONE, learnable_codebook=True, ema_update=False),
        {"update": "gradient"},
    ),
    "residual": (lambda: vqp.ResidualVQ(**LEVELS), {}),
    "shared": (lambda: vqp.ResidualVQ(**LEVELS, shared_codebook=True), {}),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_converted_codebook_quantises_as_the_library(name, tmp_path):
    make, hints = MODULES[name]
    module, x = trained(make()), noise(2, 5, 23, seed=9)
    convert(saved(tmp_path / "net.pt", module), tmp_path / "ours", hints=hints)
    found = quantize(tcnzoo.load(tmp_path / "ours", "numpy"), x)
    output, indices = their_output(module, x)
    np.testing.assert_array_equal(found["indices"], indices)
    assert_close(found["output"], output)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", MODULES)
def test_there_and_back_keeps_every_bit_that_the_library_loads(name, suffix, tmp_path):
    make, hints = MODULES[name]
    module = trained(make())
    convert(saved(tmp_path / "net.pt", module), tmp_path / "ours", hints=hints)
    target = tmp_path / f"back{suffix}"
    report = convert(tmp_path / "ours", target, to_format=NAME)
    assert not report.left_out
    if suffix == ".pt":
        back, fresh = torch.load(target, weights_only=True), make()
        fresh.load_state_dict(back)
        wanted = module.state_dict()
        assert list(back) == [key for key in back if key in wanted]
        for key, tensor in wanted.items():
            if name != "gradient" or not key.endswith("embed_avg"):
                assert torch.equal(back[key], tensor), key
    again = convert(target, tmp_path / "again")
    assert (again.from_format, again.spec, again.assumed) == (NAME, report.spec, {})
    assert_same_bits(*(read_checkpoint(tmp_path / one)[1] for one in ("again", "ours")))


def test_what_the_file_does_not_say_is_the_librarys_default(tmp_path):
    path = saved(tmp_path / "net.pt", trained(vqp.VectorQuantize(**ONE)))
    report = convert(path, tmp_path / "ours")
    defaults = {
        "gradient": "rotation", "update": "ema", "decay": 0.8, "eps": 1e-5, "commitment": 1.0,
        "dead_code_threshold": 0.0,
    }  # fmt: skip
    assert report.assumed == {"heads": 1, "vq_bridge": False, **defaults}
    assert report.spec == tcnzoo.load_spec({**SPEC, **defaults})
    assert report.used["_codebook.embed"] == "codebook"
    assert report.dropped == {
        "_codebook.initted": "it only says that the codes have been initialised"
    }
    hints = {"decay": "0.9", "gradient": "straight_through", "kmeans_iterations": 4}
    again = convert(path, tmp_path / "again", hints=hints)
    assert again.spec.decay == 0.9
    assert read_checkpoint(tmp_path / "again")[1]["initialised"][0] == 1.0
    assert again.used["_codebook.initted"] == "initialised"


def listed(forward):
    """A user's own model with two quantisers in a list, which no ResidualVQ is."""

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([vqp.VectorQuantize(**ONE) for _ in range(2)])

        def forward(self, x):
            return forward(self.layers, x)

    return Own()


def chained(layers, x):
    return layers[1](layers[0](x)[0])


def side_by_side(layers, x):
    return (torch.cat([layer(x)[0] for layer in layers], -1),)


@pytest.mark.parametrize(
    "make, name, value",
    [
        (lambda: vqp.ResidualVQ(**LEVELS, beam_size=3), "beam_size", 1),
        (lambda: vqp.ResidualVQ(**LEVELS, diveq=True), "diveq", False),
        (lambda: listed(chained), "kind", "residual_vq"),
        (lambda: listed(side_by_side), "kind", "residual_vq"),
        (lambda: vqp.VectorQuantize(dim=10, codebook_size=7, heads=2, codebook_dim=5), "heads", 1),
        (lambda: vqp.VectorQuantize(**ONE, vq_bridge=torch.nn.Tanh()), "vq_bridge", False),
    ],
    ids=["beams", "diveq", "chained", "side-by-side", "heads", "bridge"],
)
def test_options_that_leave_no_tensor_are_assumed_by_name(make, name, value, tmp_path):
    path = saved(tmp_path / "net.pt", make())
    report = convert(path, tmp_path / "ours")
    assert report.assumed[name] == inspect(path).assumed[name] == value
    assert name not in convert(path, tmp_path / "said", hints={name: value}).assumed
    assert list(report.assumed).index(name) < list(report.assumed).index("gradient")


@pytest.mark.parametrize(
    "levels, hints, sentence",
    [
        (
            True,
            {"beam_size": 3},
            "beam_size=3 cannot be converted; only beam_size=1 has a counterpart",
        ),
        (True, {"diveq": "true"}, "diveq=True cannot be converted; only diveq=False"),
        (False, {"heads": 2}, "heads=2 cannot be converted; only heads=1"),
        (True, {"kind": "vector_quantizer"}, "convert one of them, as in: --set prefix=layers.0"),
    ],
    ids=["beams", "diveq", "heads", "list"],
)
def test_options_without_a_counterpart_are_refused(levels, hints, sentence, tmp_path):
    path = saved(
        tmp_path / "net.pt", vqp.ResidualVQ(**LEVELS) if levels else vqp.VectorQuantize(**ONE)
    )
    with pytest.raises(SpecError) as caught:
        convert(path, tmp_path / "ours", hints=hints)
    assert sentence in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_one_quantiser_of_a_list_is_picked_by_its_prefix(tmp_path):
    model, x = listed(chained), noise(2, 5, 23, seed=9)
    for layer in model.layers:
        trained(layer)
    path = saved(tmp_path / "net.pt", model, "net.")
    report = convert(path, tmp_path / "ours", hints={"prefix": "net.layers.1"})
    assert (report.spec.kind, report.assumed["heads"]) == ("vector_quantizer", 1)
    found = quantize(tcnzoo.load(tmp_path / "ours", "numpy"), x)
    np.testing.assert_array_equal(found["indices"], their_output(model.layers[1], x)[1])


def test_shrunken_codes_do_not_hide_a_cosine_codebook(tmp_path):
    """The library shrinks a cosine code that it no longer uses to 0: lengths other than 1."""
    torch.manual_seed(0)
    module = vqp.VectorQuantize(**ONE, use_cosine_sim=True).train()
    near = torch.eye(5)[:2]
    for _ in range(250):
        module(near[torch.randint(0, 2, (2, 31))])
    lengths = module._codebook.embed.norm(dim=-1)
    assert lengths.min() < 0.1
    assert lengths.max() > 0.999
    path = saved(tmp_path / "net.pt", module.eval())
    assert "do not determine cosine" in refusal(path, kind=InputError)
    with pytest.raises(SpecError, match=r"of the 7 codes in .* are shorter than 1"):
        convert(path, tmp_path / "ours", hints={"cosine": True})
    assert convert(path, tmp_path / "ours", hints={"cosine": False}).spec.cosine is False


def test_other_quantisers_are_not_read(tmp_path):
    path = saved(tmp_path / "net.pt", vqp.SimVQ(dim=5, codebook_size=7))
    with pytest.raises(WeightError, match=r"'_codebook\.embed' of a VectorQuantize or ResidualVQ"):
        convert(path, tmp_path / "ours", from_format=NAME)


def test_a_codebook_that_waits_for_kmeans_still_does(tmp_path):
    module = vqp.VectorQuantize(**ONE, kmeans_init=True)
    path = saved(tmp_path / "net.pt", module)
    assert "do not determine cosine" in inspect(path).missing
    report = convert(path, tmp_path / "ours", hints={"cosine": False})
    assert report.assumed["kmeans_iterations"] == 10
    assert read_checkpoint(tmp_path / "ours")[1]["initialised"][0] == 0.0
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format=NAME)
    assert not torch.load(tmp_path / "back.pt", weights_only=True)["_codebook.initted"]


def test_a_shared_codebook_is_taken_once(tmp_path):
    module = trained(vqp.ResidualVQ(**LEVELS, shared_codebook=True))
    report = convert(saved(tmp_path / "net.pt", module), tmp_path / "ours")
    assert (report.spec.shared, report.assumed["shared"]) == (True, True)
    reason = "the same as of level 0, for all levels share one codebook"
    assert report.dropped["layers.2._codebook.embed"] == reason
    apart = convert(tmp_path / "net.pt", tmp_path / "apart", hints={"shared": False})
    assert apart.used["layers.2._codebook.embed"] == "levels.2.codebook"


def test_a_quantiser_inside_a_model_is_found(tmp_path):
    module = trained(vqp.ResidualVQ(**LEVELS))
    path = saved(tmp_path / "net.pt", module, "net.vq.", **{"head.weight": torch.zeros(2, 3)})
    report = convert(path, tmp_path / "ours")
    assert (report.from_format, report.spec.levels) == (NAME, 3)
    assert report.dropped["head.weight"] == "outside of 'net.vq', which alone is converted"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_float_types_are_kept(dtype, tmp_path):
    module = trained(vqp.VectorQuantize(**ONE)).to(getattr(torch, dtype))
    convert(saved(tmp_path / "net.pt", module), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format=NAME)
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for name, tensor in module.state_dict().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name


def test_cosine_codes_are_written_at_length_one(tmp_path):
    spec = tcnzoo.load_spec({**SPEC, "cosine": True, "initializer": "normal"})
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    convert(tmp_path / "ours", tmp_path / "net.pt", to_format=NAME)
    module, x = vqp.VectorQuantize(**ONE, use_cosine_sim=True).eval(), noise(2, 5, 23)
    module.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    found = quantize(tcnzoo.load(tmp_path / "ours", "numpy"), x)
    assert_close(found["output"], their_output(module, x)[0])


def test_length_one_is_asked_about(tmp_path):
    path = saved(tmp_path / "net.pt", trained(vqp.VectorQuantize(**ONE, use_cosine_sim=True)))
    assert refusal(path, kind=InputError) == (
        f"the codes in {str(path)!r} do not determine cosine; give the value of use_cosine_sim, "
        "as in: --set cosine=true"
    )


@pytest.mark.parametrize(
    "make, hints, kind, part",
    [
        (
            lambda: vqp.VectorQuantize(
                **ONE, heads=2, codebook_dim=3, separate_codebook_per_head=True
            ),
            {},
            WeightError,
            "holds 2 heads with a codebook each; only one can be converted",
        ),
        (
            lambda: vqp.VectorQuantize(**ONE, codebook_dim=3),
            {},
            WeightError,
            "'project_in.weight'",
        ),
        (
            lambda: vqp.VectorQuantize(**ONE, affine_param=True),
            {},
            WeightError,
            "'_codebook.codebook_mean_needs_init'",
        ),
        (
            lambda: vqp.VectorQuantize(**ONE),
            {"cosine": True},
            InputError,
            "cosine=true contradicts",
        ),
        (
            lambda: vqp.VectorQuantize(**ONE),
            {"shared": True},
            InputError,
            "the hint shared is of levels",
        ),
        (lambda: vqp.ResidualVQ(**LEVELS), {"shared": True}, InputError, "shared=true contradicts"),
        (lambda: vqp.VectorQuantize(**ONE), {"decai": 1}, InputError, "did you mean 'decay'?"),
        (
            lambda: vqp.ResidualVQ(dim=5, codebook_size=(7, 8)),
            {},
            WeightError,
            "must hold codebooks of one size, but holds 2 sizes: [(7, 5), (8, 5)]",
        ),
    ],
    ids=["heads", "projection", "affine", "cosine", "no-levels", "unequal", "typo", "sizes"],
)
def test_what_cannot_be_converted_is_refused(make, hints, kind, part, tmp_path):
    path = saved(tmp_path / "net.pt", make())
    with pytest.raises(kind) as caught:
        convert(path, tmp_path / "ours", hints=hints)
    assert part in str(caught.value)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    "change, part",
    [
        ({"_codebook.embed": None}, "is not recognised"),
        ({"_codebook.embed_avg": None}, "must hold '_codebook.embed_avg' beside the others"),
        ({"_codebook.embed": (7, 5)}, "must be (1, codes, channels), but has shape (7, 5)"),
        ({"_codebook.cluster_size": (1, 6)}, "must have shape (1, 7), but has (1, 6)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, part, tmp_path):
    state = dict(vqp.VectorQuantize(**ONE).state_dict())
    for name, shape in change.items():
        del state[name]
        if shape is not None:
            state[name] = torch.ones(shape)
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises((InputError, WeightError)) as caught:
        convert(tmp_path / "net.pt", tmp_path / "ours")
    assert part in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_levels_with_a_gap_are_refused(tmp_path):
    state = vqp.ResidualVQ(**LEVELS).state_dict()
    state = {name: one for name, one in state.items() if not name.startswith("layers.1.")}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(WeightError, match=r"must hold the levels layers\.0 to layers\.1"):
        convert(tmp_path / "net.pt", tmp_path / "ours")


@pytest.mark.parametrize(
    "spec, sentence",
    [
        (
            {"kind": "fsq", "levels": [3, 5]},
            f"{NAME} holds a single model of kind 'vector_quantizer' or 'residual_vq', but this "
            "is a fsq",
        ),
        (
            {**SPEC, "cosine": True, "update": "gradient"},
            f"{NAME} has no cosine codebook that gradients train",
        ),
        (
            {**SPEC, "cosine": True, "update": "unit_ema", "dead_code_threshold": 0.0},
            f"{NAME} moves codes by averages of sums, not as update 'unit_ema' does",
        ),
    ],
)
def test_the_library_cannot_hold(spec, sentence, tmp_path):
    spec = tcnzoo.load_spec(spec)
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    with pytest.raises(SpecError) as caught:
        convert(tmp_path / "start", tmp_path / "net.pt", to_format=NAME)
    assert str(caught.value) == sentence
    assert not (tmp_path / "net.pt").exists()


def test_a_hint_against_our_own_file_is_refused(tmp_path):
    spec = tcnzoo.load_spec(SPEC)
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    convert(tmp_path / "start", tmp_path / "net.pt", to_format=NAME)
    with pytest.raises(InputError, match=r"the hint decay=0\.5 contradicts .*, which says decay"):
        convert(tmp_path / "net.pt", tmp_path / "again", hints={"decay": 0.5})


@pytest.mark.parametrize(
    "name, shape, part",
    [
        ("_codebook.embed", (), "must start with one head, but has shape ()"),
        ("_codebook.embed_avg", (0, 7, 5), "must start with one head, but has shape (0, 7, 5)"),
        ("_codebook.cluster_size", (2, 7), "must start with one head, but has shape (2, 7)"),
        ("_codebook.initted", (3,), "must be one number, but has shape (3,)"),
    ],
)
def test_shapes_are_checked_in_our_own_file_too(name, shape, part, tmp_path):
    # Its configuration names the sizes, so that they are not read from the tensors.
    spec = tcnzoo.load_spec(SPEC)
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    file = tmp_path / "net.safetensors"
    convert(tmp_path / "start", file, to_format=NAME)
    with safetensors.safe_open(file, "np") as stored:
        notes = stored.metadata()
        state = {one: stored.get_tensor(one) for one in stored.keys()}  # noqa: SIM118
    safetensors.numpy.save_file({**state, name: np.ones(shape, np.float32)}, file, notes)
    with pytest.raises(WeightError) as caught:
        convert(file, tmp_path / "again")
    assert part in str(caught.value)


@pytest.mark.parametrize("level", [0, 1])
def test_a_level_without_its_flag_is_one_that_is_set(level, tmp_path):
    state = trained(vqp.ResidualVQ(**LEVELS, shared_codebook=True)).state_dict()
    del state[f"layers.{level}._codebook.initted"]
    torch.save(state, tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours", hints={"cosine": False})
    assert read_checkpoint(tmp_path / "ours")[0].shared
