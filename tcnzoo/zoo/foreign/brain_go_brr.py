"""Configuration files of brain-go-brr-v2, and the detectors that they ask for.

Source: brain-go-brr-v2 (Clarity-Digital-Twin, Apache-2.0), versions 2.0 to 2.3: facts only.
"""

import os
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tcnzoo.errors import SpecError, suggestion
from tcnzoo.files.bounds import listed, plain, shortened
from tcnzoo.files.documents import read_mapping
from tcnzoo.specs import Spec
from tcnzoo.specs.base import Depth, Positive, Rate
from tcnzoo.zoo.foreign.detectors import CHANNELS, ENCODER, Backbone, tcn_document, unet_document
from tcnzoo.zoo.parse import parse_spec

SAMPLING_RATE = 256.0
SECONDS = 60.0
# Taps that mamba_ssm's convolution can have; the origin takes 4 for any other number.
TAPS = (2, 3, 4)
# Sections of `model` that only a U-Net has.
UNET = ("encoder", "rescnn", "decoder")
# Sections of a configuration file that say nothing of the model.
BESIDE = (
    "data", "preprocessing", "postprocessing", "training", "evaluation", "experiment", "logging",
    "resources",
)  # fmt: skip


# Each stage of a U-Net halves the signal and doubles the channels.
Stages = Annotated[int, Field(ge=1, le=32)]


class _Section(BaseModel):
    """A section of a configuration, with unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderSection(_Section):
    """`model.encoder`: only the first of `channels` and `stages` count, as in the origin."""

    stages: Stages = 4
    channels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (64, 128, 256, 512)
    kernel_size: Positive = ENCODER
    downsample_factor: Literal[2] = 2


class RescnnSection(_Section):
    """`model.rescnn`; its dropout is `model.mamba.dropout`, as in the origin."""

    n_blocks: Depth = 3
    kernel_sizes: Annotated[tuple[Positive, ...], Field(max_length=64)] = (3, 5, 7)
    dropout: Rate = 0.1


class DecoderSection(_Section):
    """`model.decoder`, which counts for nothing, as in the origin."""

    stages: Positive = 4
    kernel_size: Positive = 2


class MambaSection(_Section):
    """`model.mamba`."""

    n_layers: Depth = 6
    d_model: Positive = 512
    d_state: Positive = 16
    conv_kernel: Positive = 4
    dropout: Rate = 0.1


class TcnSection(_Section):
    """`model.tcn`; the two options of training change no number."""

    num_layers: Depth = 8
    channels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (64, 128, 256, 512)
    kernel_size: Positive = 7
    dropout: Rate = 0.15
    causal: bool = False
    stride_down: Positive = 16
    dilation_reset: Positive | None = None
    use_cuda_optimizations: bool = True
    gradient_checkpointing: bool = False


class ModelSection(_Section):
    """`model`; without `architecture` it is the one that has sections."""

    name: str = "seizure_detector"
    architecture: Literal["tcn", "unet"] | None = None
    encoder: EncoderSection = EncoderSection()
    rescnn: RescnnSection = RescnnSection()
    decoder: DecoderSection = DecoderSection()
    mamba: MambaSection = MambaSection()
    tcn: TcnSection = TcnSection()


SECTIONS: Mapping[str, type[_Section]] = {
    "encoder": EncoderSection,
    "rescnn": RescnnSection,
    "decoder": DecoderSection,
    "mamba": MambaSection,
    "tcn": TcnSection,
}
# What the origin's code has, whatever a file says.
FIXED_IN_TCN: Mapping[str, Any] = {
    "channels": [64, 128, 256, 512],
    "causal": False,
    "dilation_reset": None,
}
FIXED_IN_DATA: Mapping[str, Any] = {"n_channels": CHANNELS}


@dataclass(frozen=True)
class DetectorConfig:
    """What a configuration file says of its model.

    Attributes:
        spec: of the model.
        input_length: samples of one window.
        sampling_rate: in Hz.
    """

    spec: Spec
    input_length: int
    sampling_rate: float


def _as_its_loader_reads(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A configuration without what brain-go-brr-v2 ignores in it, and what that is.

    Its loader drops unknown keys (up to version 3.1.0), and its code passes neither the widths nor
    `causal` on to the TCN, nor the channels of the signal.
    """
    ignored: list[str] = []
    kept = _known(document, (*BESIDE, "model"), "", ignored)
    model = _known(kept.get("model"), ModelSection.model_fields, "model.", ignored)
    for name, section in SECTIONS.items():
        if isinstance(model.get(name), Mapping):
            model[name] = _known(model[name], section.model_fields, f"model.{name}.", ignored)
    if isinstance(model.get("tcn"), Mapping):
        model["tcn"] = _without(model["tcn"], FIXED_IN_TCN, "model.tcn.", ignored)
    if isinstance(kept.get("data"), Mapping):
        kept["data"] = _without(kept["data"], FIXED_IN_DATA, "data.", ignored)
    return kept | {"model": model or kept.get("model")}, ignored


def _known(held: Any, names: Collection[str], place: str, ignored: list[str]) -> dict[str, Any]:
    """The entries of a section that are known; the others are noted."""
    if not isinstance(held, Mapping):
        return {}
    ignored += [f"{place}{plain(str(name))}" for name in held if name not in names]
    return {name: value for name, value in held.items() if name in names}


def _without(
    held: Mapping[str, Any], fixed: Mapping[str, Any], place: str, ignored: list[str]
) -> dict[str, Any]:
    """A section without the fields that are fixed in the code; other values are noted."""
    ignored += [
        f"{place}{name}={shortened(held[name])} (it has {value})"
        for name, value in fixed.items()
        if name in held and held[name] != value
    ]
    return {name: value for name, value in held.items() if name not in fixed}


def is_detector_config(document: Mapping[str, Any]) -> bool:
    """Whether a mapping is a configuration of such a detector."""
    model = document.get("model")
    if not isinstance(model, Mapping):
        return False
    return not {"architecture", "encoder", "tcn", "mamba"}.isdisjoint(model)


def detector_config(
    path: str | os.PathLike[str], backbone: Backbone = "pytorch-tcn", *, literal: bool = False
) -> DetectorConfig:
    """Read a YAML configuration: the detector that brain-go-brr-v2 builds from it, and its signal.

    What the origin ignores is ignored, with a warning that names it: keys that it does not know,
    widths and `causal` of the TCN (64, 128, 256, 512 and not causal), and `data.n_channels` (19).
    Without a warning: `encoder.kernel_size` (its code has 5, and 7 in the stem), `decoder`, and
    `rescnn.dropout`, for which it takes `mamba.dropout`. A `conv_kernel` other than 2, 3 or 4
    becomes 4, as in the origin. All other sections concern data and training. The origin chooses
    one of two backbones for the TCN by what is installed; here `backbone` says it, and a converted
    checkpoint tells by its names.

    Args:
        path: of the file.
        backbone: of the TCN.
        literal: take widths, `causal`, channels and `dilation_reset` as they stand in the file, as
            the origin's plan means them; unknown keys are refused then.
    Raises:
        InputError: no such file.
        SpecError: no such configuration, or, read literally, an unknown key.
    Source:
        brain-go-brr-v2, tags v2.1.0 to v3.1.0: config/schemas.py, models/detector.py.
    """
    file = Path(path)
    return detector_config_of(read_mapping(file), repr(str(file)), backbone, literal=literal)


def detector_config_of(
    document: Mapping[str, Any],
    place: str,
    backbone: Backbone = "pytorch-tcn",
    *,
    literal: bool = False,
) -> DetectorConfig:
    """The same for the contents of a file, which `place` names in the sentences of errors."""
    if not literal:
        document, ignored = _as_its_loader_reads(document)
        if ignored:
            warnings.warn(
                f"{place}: ignored, as brain-go-brr ignores it: {listed(ignored)}; literal=True "
                "(--literal of describe and init) takes the file as it stands",
                stacklevel=2,
            )
    unknown = [name for name in document if name not in (*BESIDE, "model")]
    if unknown:
        hint = suggestion(str(unknown[0]), (*BESIDE, "model"))
        raise SpecError(f"unknown key {shortened(unknown[0])} in {place}{hint}")
    try:
        model = ModelSection.model_validate(document.get("model"))
    except ValidationError as error:
        raise SpecError(_sentence(error, place)) from None
    data = document.get("data")
    data = data if isinstance(data, Mapping) else {}
    rate = _number(data, "sampling_rate", SAMPLING_RATE, place)
    seconds = _number(data, "window_size", SECONDS, place)
    channels = int(_number(data, "n_channels", CHANNELS, place))
    build = _unet if _architecture(model, place) == "unet" else _tcn
    spec = parse_spec(build(model, channels, backbone))
    return DetectorConfig(spec, int(rate * seconds), rate)


def _architecture(model: ModelSection, place: str) -> str:
    """The architecture that is named, or the one that alone has sections."""
    if model.architecture is not None:
        return model.architecture
    unet, tcn = not model.model_fields_set.isdisjoint(UNET), "tcn" in model.model_fields_set
    if unet and tcn:
        raise SpecError(f"'model.architecture' in {place} must be tcn or unet, but is not there")
    return "tcn" if tcn else "unet"


def _unet(model: ModelSection, in_channels: int, backbone: Backbone) -> dict[str, Any]:
    """The document of a U-Net."""
    base, depth = model.encoder.channels[0], model.encoder.stages
    widths = tuple(base * 2**stage for stage in range(depth))
    if model.encoder.channels != widths:
        raise SpecError(
            f"'model.encoder.channels' must be {shortened(list(widths))}, twice as many in each of "
            f"the {depth} stages, but are {shortened(list(model.encoder.channels))}"
        )
    _check_width(model, widths[-1])
    return unet_document(
        in_channels=in_channels,
        channels=base,
        depth=depth,
        blocks=model.rescnn.n_blocks,
        kernel_sizes=model.rescnn.kernel_sizes,
        mamba=_mamba(model.mamba),
        dropout=model.mamba.dropout,
    )


def _check_width(model: ModelSection, width: int) -> None:
    """Refuse a Bi-Mamba-2 of another width than what reaches it."""
    if model.mamba.d_model != width:
        raise SpecError(
            f"'model.mamba.d_model' must be {width}, the width of the last stage, "
            f"but is {model.mamba.d_model}"
        )


def _tcn(model: ModelSection, in_channels: int, backbone: Backbone) -> dict[str, Any]:
    """The document of a TCN, whose list of channels is repeated and cut to its levels."""
    tcn = model.tcn
    rounds = -(-tcn.num_layers // len(tcn.channels))
    return tcn_document(
        in_channels=in_channels,
        channels=(tcn.channels * rounds)[: tcn.num_layers],
        kernel_size=tcn.kernel_size,
        dropout=tcn.dropout,
        causal=tcn.causal,
        dilation_reset=tcn.dilation_reset,
        backbone=backbone,
        width=model.mamba.d_model,
        stride=tcn.stride_down,
        mamba=_mamba(model.mamba),
    )


def _mamba(section: MambaSection) -> dict[str, Any]:
    """Fields of the bi_mamba2."""
    taps = section.conv_kernel if section.conv_kernel in TAPS else TAPS[-1]
    inner = {"d_state": section.d_state, "d_conv": taps}
    return {"layers": section.n_layers, "dropout": section.dropout, "mamba": inner}


def _number(held: Mapping[str, Any], name: str, default: float, place: str) -> float:
    """A positive number of `data`, where it is there."""
    value = held.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise SpecError(
            f"'data.{name}' in {place} must be a positive number, but is {shortened(value)}"
        )
    return float(value)


def _sentence(error: ValidationError, place: str) -> str:
    """The first problem of a configuration in one sentence."""
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    dotted, last = ".".join(["model", *where]), where[-1] if where else ""
    if problem["type"] == "model_type":
        came = shortened(problem["input"])
        return f"{shortened(dotted)} in {place} must be a mapping, but is {came}"
    if problem["type"] != "extra_forbidden":
        return f"{shortened(dotted)} in {place}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
    section: Any = ModelSection
    for part in where[:-1]:
        section = section.model_fields[part].annotation
    return f"unknown key {shortened(dotted)} in {place}{suggestion(last, section.model_fields)}"
