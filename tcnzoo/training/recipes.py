"""Configurations that come with the package, by name."""

from importlib import resources
from typing import Any

RECIPES = resources.files("tcnzoo.training") / "configs"
SUFFIX = ".yaml"


def recipe_names() -> list[str]:
    """Names of the configurations, sorted."""
    return sorted(
        file.name.removesuffix(SUFFIX) for file in RECIPES.iterdir() if file.name.endswith(SUFFIX)
    )


def read_recipe(name: str) -> dict[str, Any]:
    """The mapping of one of them."""
    import yaml  # 15 ms that `import tcnzoo` does without

    document: dict[str, Any] = yaml.safe_load((RECIPES / f"{name}{SUFFIX}").read_text("utf-8"))
    return document
