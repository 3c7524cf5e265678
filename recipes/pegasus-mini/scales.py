"""The recipe at its two scales: a file that holds every setting, and one that says what differs from it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting

Recipe = Mapping[str, Any]
Settings = Mapping[str, Any]
"""A section of a recipe."""


def read_recipe(file: Path) -> dict[str, Any]:
    """A recipe; what it does not say is as in the file that it names as its ``base``.

    A section takes over the keys that it has not, one by one; tables and lists within it are taken whole.
    """
    recipe = tomllib.loads(file.read_text(encoding="utf-8"))
    if "base" not in recipe:
        return recipe
    base = read_recipe(file.parent / recipe.pop("base"))
    for name, section in recipe.items():
        both = isinstance(section, dict) and isinstance(base.get(name), dict)
        base[name] = {**base[name], **section} if both else section
    return base


def section(recipe: Recipe, name: str) -> Settings:
    """A section that not every recipe has.

    Raises:
        BadSetting: this one has not.
    """
    if name not in recipe:
        raise BadSetting(f"this recipe has no [{name}]: take one that has, such as --scale gpu")
    found: Settings = recipe[name]
    return found


def pretraining(recipe: Recipe, teacher: bool) -> list[Settings]:
    """The parts of pre-training; the teacher's differ in length and dropout."""
    if not teacher:
        return list(recipe["pretrain"])
    own = section(recipe, "teacher")
    return [
        {**part, "steps": steps, "dropout": own["dropout"]}
        for part, steps in zip(recipe["pretrain"], own["pretrain_steps"], strict=True)
    ]


def finetuning(recipe: Recipe, stage: str) -> Settings:
    """The settings of finetune, teacher-finetune or distill: those of [finetune] and what differs."""
    own: Settings = {}
    if stage == "teacher-finetune":
        teacher = section(recipe, "teacher")
        own = {"dropout": teacher["dropout"], **teacher["finetune"]}
    elif stage == "distill":
        own = section(recipe, "distill")
    return {**recipe["finetune"], **own}
