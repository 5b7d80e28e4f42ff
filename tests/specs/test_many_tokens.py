"""`describe` warns of attention to very many tokens."""

import pytest

import tcnzoo
from tcnzoo.specs.analysis import describe
from tests.support.cases import transformer_block


def stack(**attention):
    block = transformer_block({"heads": 2, **attention})
    layers = {
        "embed": {"kind": "patch_embed", "patch": 5, "stem": "linear", "channels": 6},
        "body": {"kind": "transformer", "depth": 2, "block": block},
    }
    return tcnzoo.load_spec({"kind": "sequential", "layers": layers})


def test_very_many_tokens_are_warned_of():
    remark = describe(stack(), 5 * 961).remarks["body"]
    assert remark.startswith("1,922 tokens attend to one another: 0.0")


@pytest.mark.parametrize("attention, patches", [({}, 500), ({"causal": True, "window": 9}, 961)])
def test_few_tokens_and_windows_are_not(attention, patches):
    assert not describe(stack(**attention), 5 * patches).remarks
