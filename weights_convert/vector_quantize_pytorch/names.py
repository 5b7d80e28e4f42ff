"""Names of a quantiser's tensors in vector-quantize-pytorch, and here."""

import re

# Ours beside the library's, in the library's order.
NAMES = {
    "initted": "initialised",
    "cluster_size": "cluster_size",
    "embed_avg": "embed_avg",
    "embed": "codebook",
}
# A tensor that every quantiser has, and what stands before the whole of one.
ROOT = re.compile(r"((?:.+?\.)??)(?:layers\.\d+\.)?_codebook\.embed$")
# The same for a quantiser that is picked from a list by the hint `prefix`.
ONE = re.compile(r"((?:.+\.)?)_codebook\.embed$")
OF_LIST = re.compile(r"(?:^|\.)layers\.\d+\.?$")
TENSOR = re.compile(r"(?:layers\.(\d+)\.)?_codebook\.(\w+)$")


def neutral_name(name: str) -> str:
    """The neutral name of a tensor; that of another tensor as it is."""
    match = TENSOR.match(name)
    if match is None or match[2] not in NAMES:
        return name
    return ("" if match[1] is None else f"levels.{match[1]}.") + NAMES[match[2]]
