"""Packages of the extra `train`, imported when they are first used."""

from typing import Any

from tcnzoo import extras


def needed(module: str, purpose: str) -> Any:
    """Import a module of the extra; see `tcnzoo.extras.needed`."""
    return extras.needed(module, purpose, extra="train")
