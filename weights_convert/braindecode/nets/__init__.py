"""braindecode's nets: how each is told from the others, built, and recognised."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import deep4, eegnet, eegnex, eegtcnet, labram, shallow_fbcsp, sparcnet, tcn
from .plan import Plan

Arguments = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class NetKind:
    """A class of `braindecode.models`.

    Attributes:
        name: of the class.
        root: matches the name of a tensor that every such net has; its first group is what stands
            before the names of the net's tensors.
        defaults: arguments that have one.
        needed: arguments that have none.
        plan_of: the net's layers.
        arguments_of: the arguments that layers say, for each layer by its name.
        facts_of: arguments that the shapes of the tensors say.
        renamed: how names of earlier versions began -> how they begin now.
    """

    name: str
    root: re.Pattern[str]
    defaults: Arguments
    needed: tuple[str, ...]
    plan_of: Callable[[Arguments], Plan]
    arguments_of: Callable[[Mapping[str, Any]], dict[str, Any]]
    facts_of: Callable[[Shapes], dict[str, Any]]
    renamed: Mapping[str, str]


def _kind(name: str, root: str, module: Any, **changed: Any) -> NetKind:
    """A net of the functions and constants of a module."""
    known = {"plan_of": module.plan_of, "facts_of": lambda shapes: {}, **changed}
    return NetKind(
        name,
        re.compile(rf"(|.*?\.){root}"),
        module.DEFAULTS,
        module.NEEDED,
        arguments_of=module.arguments_of,
        renamed=module.RENAMED,
        **known,
    )


# In this order: a BDTCN holds a TCN, and Deep4Net begins as ShallowFBCSPNet does.
_ORDERED = (
    _kind(
        "BDTCN", r"base_tcn\.temporal_blocks\.temporal_block_0\.", tcn,
        plan_of=tcn.averaged_plan_of, facts_of=tcn.averaged_facts_of,
    ),
    _kind("TCN", r"temporal_blocks\.temporal_block_0\.", tcn, facts_of=tcn.facts_of),
    _kind("EEGTCNet", r"eegnet_tc\.conv1\.weight$", eegtcnet),
    _kind("SPARCNet", r"encoder\.denseblock1\.denselayer1\.conv1\.weight$", sparcnet),
    _kind("EEGNeX", r"block_3\.0\.parametrizations\.weight\.original$", eegnex),
    _kind("EEGNet", r"conv_separable_depth\.weight$", eegnet),
    _kind("Deep4Net", r"conv_4\.weight$", deep4),
    _kind("Labram", r"position_embedding$", labram, facts_of=labram.facts_of),
    _kind("ShallowFBCSPNet", r"(?:conv_time_spat\.)?conv_time\.weight$", shallow_fbcsp),
)  # fmt: skip


NETS: Mapping[str, NetKind] = {kind.name: kind for kind in _ORDERED}


def net_of(names: Iterable[str]) -> NetKind | None:
    """The net whose tensors have such names, or None."""
    known = list(names)
    return next((kind for kind in NETS.values() if any(map(kind.root.match, known))), None)
