"""Names of a TemporalConvNet's tensors, each of which a state_dict holds twice."""

import re

from tcnzoo.arrays import Weights
from tcnzoo.files.lazy import Tensors

from ..pytorch_tcn.names import current_name, neutral_name

# Member of `net` -> the convolution that it is.
_MEMBERS = {"0": "conv1", "4": "conv2"}
_MEMBER = re.compile(r"(network\.\d+)\.net\.([04])\.(.+)")
_CONVOLUTION = re.compile(r"(network\.\d+)\.(conv[12])\.(.+)")


def direct_name(name: str) -> str:
    """The name of a tensor by way of its convolution."""
    match = _MEMBER.fullmatch(name)
    return f"{match[1]}.{_MEMBERS[match[2]]}.{match[3]}" if match else name


def neutral_of(name: str) -> str:
    """Neutral name of a tensor under either of its names."""
    return neutral_name(current_name(direct_name(name)))


def with_both_names(weights: Tensors) -> Weights:
    """Weights under the names of a TemporalConvNet, those of a convolution under both."""
    members = {conv: member for member, conv in _MEMBERS.items()}
    named: Weights = {}
    for neutral, array in weights.items():
        name = neutral.replace("blocks.", "network.").replace(".residual.", ".downsample.")
        named[name] = array
        match = _CONVOLUTION.fullmatch(name)
        if match:
            named[f"{match[1]}.net.{members[match[2]]}.{match[3]}"] = array
    return named
