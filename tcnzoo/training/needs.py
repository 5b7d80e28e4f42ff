"""Packages of the extra `train`, imported when they are first used."""

from typing import Any

from tcnzoo import needs


def needed(module: str, purpose: str) -> Any:
    """Import a module of the extra; see `tcnzoo.needs.needed`."""
    return needs.needed(module, purpose, extra="train")
