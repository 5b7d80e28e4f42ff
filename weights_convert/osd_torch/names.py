"""Names of OpenSeizureDetector's tensors and entries, and of the same tensors here.

Source: names of OpenSeizureDetector, nnTraining2, `DeepEpiCnn`: facts only.
"""

from tcnzoo.specs import ConvBlockSpec, DenseBlockSpec, SequentialSpec

from .facts import DROPOUT_STEP, PLAIN_STEP

STATE = "model_state_dict"
COUNTER = "num_batches_tracked"
# What stands beside the tensors and goes into the spec -> its name in a configuration.
RATES = {"conv_dropout": "convDropout", "dense_dropout": "denseDropout"}


def foreign_names(spec: SequentialSpec) -> dict[str, str]:
    """Names of the origin by neutral ones, for a DeepEpi net of any strides."""
    dropouts = [layer.dropout for layer in spec.layers.values() if isinstance(layer, ConvBlockSpec)]
    step = DROPOUT_STEP if dropouts[0] else PLAIN_STEP
    names: dict[str, str] = {}
    convs = denses = 0
    for name, layer in spec.layers.items():
        modules = {"": "fc_out"}
        if isinstance(layer, ConvBlockSpec):
            modules = {
                "conv": f"conv_stack.{convs * step}",
                "norm": f"conv_stack.{convs * step + 1}",
            }
            convs += 1
        elif isinstance(layer, DenseBlockSpec):
            denses += 1
            modules = {"dense": f"fc{denses}", "norm": f"bn{denses}"}
        for row in layer.params():
            part, _, tensor = row.rpartition(".")
            names[f"{name}.{row}"] = f"{modules[part]}.{tensor}"
    return names


def neutral_names(spec: SequentialSpec) -> dict[str, str]:
    """Neutral names by the origin's."""
    return {foreign: name for name, foreign in foreign_names(spec).items()}
