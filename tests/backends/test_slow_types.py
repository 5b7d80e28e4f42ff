"""16-bit types on a processor that has no instructions for them."""

import warnings

import pytest

import tcnzoo
from tcnzoo import engines
from tests.support.cases import conv1d

AVX2 = "fpu sse2 avx avx2 fma f16c"


@pytest.fixture
def processor(monkeypatch):
    """A function that pretends to have a processor with some flags, which nobody was warned of."""

    def pretend(flags):
        monkeypatch.setattr(engines, "_flags", lambda: flags)
        monkeypatch.setattr(engines, "processor", lambda: "Some CPU, AVX2")
        monkeypatch.setattr(engines, "_warned", set())

    return pretend


def _warnings(*calls):
    """The sentences that calls warn with."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call in calls:
            call()
    assert all(one.category is engines.SlowTypeWarning for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(
    "options, asked, instead",
    [
        ({"dtype": "bfloat16"}, "dtype 'bfloat16'", "leave dtype at 'float32'"),
        ({"dtype": "float16"}, "dtype 'float16'", "leave dtype at 'float32'"),
        ({"autocast": "bfloat16"}, "autocast 'bfloat16'", "leave autocast out"),
    ],
)
def test_torch_warns_once_of_what_the_processor_lacks(processor, options, asked, instead):
    pytest.importorskip("torch")
    processor(AVX2)
    kind = next(iter(options.values()))
    create = [lambda: tcnzoo.create(conv1d(), "torch", **options)] * 2
    assert _warnings(*create) == [
        f"{asked} is slow on this processor (Some CPU, AVX2), which has no instructions for "
        f"{kind}: float32 may be several times as fast; {instead}"
    ]


def test_training_in_mixed_precision_warns(processor):
    pytest.importorskip("lightning_fabric")
    from tests.training.test_torch import spec_of, stepper_of

    processor(AVX2)
    (sentence,) = _warnings(lambda: stepper_of(spec_of(), precision="bf16-mixed"))
    assert sentence.startswith("precision 'bf16-mixed' is slow on this processor")
    assert sentence.endswith("train with precision '32-true'")


@pytest.mark.parametrize(
    "flags, dtype",
    [
        ("avx2 avx512f avx512_bf16", "bfloat16"),
        ("asimd bf16", "bfloat16"),
        ("avx512_fp16", "float16"),
        ("", "bfloat16"),  # a system that does not tell
        (AVX2, "float32"),
    ],
)
def test_nothing_is_said_where_the_type_is_there_or_nothing_is_known(processor, flags, dtype):
    processor(flags)
    assert _warnings(lambda: engines.warn_of_slow(dtype, "it", "leave it")) == []


def test_the_tests_of_sixteen_bits_need_not_expect_it(processor):
    pytest.importorskip("torch")
    processor(AVX2)
    tcnzoo.create(conv1d(), "torch", dtype="bfloat16")  # here a warning would be an error
