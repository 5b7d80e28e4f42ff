"""The DeepEpi net in torch and in Keras, with the names and the sums of its two origins.

Written from a description of layers and names; sizes are arguments, and every tensor is noise.
"""

import numpy as np
import pytest

# Sizes that differ, with a stride of 2 at the fifth place as in the origin's code.
FILTERS = (4, 6, 6, 5, 6, 7)
DENSE = (9, 8, 6, 3)


def code_strides(layers):
    """Strides of the origin's code."""
    return [2 if place % 5 == 4 else 1 for place in range(layers)]


def torch_net(
    filters=FILTERS,
    kernel_size=5,
    strides=None,
    dense=DENSE,
    classes=2,
    conv_dropout=0.0,
    dense_dropout=0.025,
    channels=1,
    seed=0,
):
    """A torch module in evaluation mode, its tensors named as the origin names them."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            stack, before = [], channels
            for width, stride in zip(filters, strides or code_strides(len(filters)), strict=True):
                stack += [nn.Conv1d(before, width, kernel_size, stride), nn.BatchNorm1d(width)]
                stack += [nn.ReLU()] + [nn.Dropout(conv_dropout)] * (conv_dropout > 0)
                before = width
            self.conv_stack = nn.Sequential(*stack)
            for place, width in enumerate(dense, start=1):
                setattr(self, f"fc{place}", nn.Linear(before, width))
                setattr(self, f"bn{place}", nn.BatchNorm1d(width))
                before = width
            self.dropout = nn.Dropout(dense_dropout)
            self.fc_out = nn.Linear(before, classes)

        def forward(self, x):
            """(batch, channels, time) -> logits (batch, classes)."""
            x = self.conv_stack(x).mean(2)
            for place in range(1, len(dense) + 1):
                x = getattr(self, f"bn{place}")(getattr(self, f"fc{place}")(x)).relu()
                x = self.dropout(x) if place == 1 else x
            return self.fc_out(x)

    net = Net().eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2.0, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0.1, 0.3, generator=generator)
        elif tensor.dim() > 1:
            scale = (2.0 / tensor[0].numel()) ** 0.5
            tensor.normal_(0.0, scale, generator=generator)
        elif tensor.is_floating_point():
            tensor.uniform_(0.6, 1.5, generator=generator)
    return net


def checkpoint(path, net, **beside):
    """Save a net as the origin's trainer does, with an optimiser that has made a step."""
    torch = pytest.importorskip("torch")
    optimiser = torch.optim.AdamW(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    values = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimiser.step()
    net.load_state_dict(values)
    torch.save(
        {
            "epoch": 3,
            "global_step": 1200,
            "model_state_dict": net.state_dict(),
            "optimizer_state_dict": optimiser.state_dict(),
            "val_loss": 0.25,
            # The trainer computes these with numpy and keeps what that gives.
            "sensitivity": np.float64(0.75),
            "far": np.float64(0.125),
            **beside,
        },
        path,
    )
    return net


def logits(net, x):
    """What a torch net gives in float64, as numpy; the net is float32 afterwards as before."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        y = net.double()(torch.from_numpy(np.asarray(x, np.float64))).numpy()
    net.float()
    return y


def keras_net(
    filters=FILTERS,
    kernel_size=5,
    strides=None,
    dense=DENSE,
    classes=2,
    conv_dropout=0.0,
    dense_dropout=0.025,
    channels=1,
    length=None,
    seed=0,
):
    """A Keras functional model: (batch, time, channels) -> probabilities (batch, classes).

    Norms have Keras's own constants (epsilon 1e-3, momentum 0.99), and `length` may be left open.
    """
    keras = pytest.importorskip("keras")
    layers = keras.layers

    def normed(y):
        return layers.ReLU()(layers.BatchNormalization()(y))

    x = y = keras.Input((length, channels))
    for width, stride in zip(filters, strides or code_strides(len(filters)), strict=True):
        y = normed(layers.Conv1D(width, kernel_size, strides=stride, padding="valid")(y))
        y = layers.Dropout(conv_dropout)(y) if conv_dropout else y
    y = layers.GlobalAveragePooling1D()(y)
    for place, width in enumerate(dense):
        y = normed(layers.Dense(width)(y))
        y = layers.Dropout(dense_dropout)(y) if place == 0 and dense_dropout else y
    model = keras.Model(x, layers.Dense(classes, activation="softmax")(y))
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.path.endswith("kernel"):
            scale = (2.0 / np.prod(variable.shape[:-1])) ** 0.5
            values = generator.normal(0.0, scale, variable.shape)
        elif variable.path.endswith("moving_variance"):
            values = generator.uniform(0.3, 2.0, variable.shape)
        elif variable.path.endswith("gamma"):
            values = generator.uniform(0.6, 1.5, variable.shape)
        elif not variable.path.endswith(("seed_generator_state", "seed")):
            values = generator.normal(0.1, 0.3, variable.shape)
        else:
            continue
        variable.assign(values.astype(np.float32))
    # Else the softmax would say 0 and 1, whatever came.
    model.layers[-1].kernel.assign(0.1 * model.layers[-1].kernel)
    return model
