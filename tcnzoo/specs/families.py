"""The families of blocks: one file of each name in `specs/` and in every backend."""

from importlib import import_module

FAMILIES = (
    "activation",
    "attention",
    "channel_adapter",
    "conv",
    "conv2d",
    "dense",
    "device_attention",
    "fsq",
    "graph",
    "hdp",
    "heads",
    "hsmm",
    "mamba",
    "norm",
    "patch_embed",
    "pool",
    "positions",
    "projection_head",
    "recurrent",
    "reshape",
    "sequential",
    "spectrum",
    "squeeze_excitation",
    "tcn",
    "tokens",
    "transformer",
    "vector_quantizer",
    "vq_hdp_hsmm",
)


def import_families(package: str) -> None:
    """Import every family of a package, so that its classes register themselves by kind.

    Args:
        package: `tcnzoo.specs`, or that of a backend.
    """
    for family in FAMILIES:
        import_module(f"{package}.{family}")
