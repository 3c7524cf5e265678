"""The layouts of packed weights, by the name that a saved folder carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pegasus.backends.packed.panels import PanelPacker
from pegasus.backends.packed.rows import RowPacker

if TYPE_CHECKING:
    from pegasus.backends.packed.weights import Packer


def packer_of(layout: str) -> Packer | None:
    """Who unpacks a layout; None where nobody does."""
    packers: dict[str, Packer] = {PanelPacker.layout: PanelPacker(), RowPacker.layout: RowPacker()}
    return packers.get(layout)
