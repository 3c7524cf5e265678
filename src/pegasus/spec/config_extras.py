"""What tools ask of a configuration beside its fields and files: changes by text, names of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from pegasus.errors import BadSetting
from pegasus.spec.config_fields import as_type_of, plain


class ConfigExtras:
    """Methods that every configuration of transformers has, mixed into ``PegasusConfig``."""

    field_names: Callable[[], set[str]]
    update: Callable[[Mapping[str, Any]], None]

    @staticmethod
    def dict_torch_dtype_to_str(d: dict[str, Any]) -> None:
        """Replace dtypes in a dictionary, and in those inside it, by their names: JSON has none."""
        for name, value in d.items():
            if isinstance(value, dict):
                ConfigExtras.dict_torch_dtype_to_str(value)
            elif name in ("torch_dtype", "dtype"):
                d[name] = plain(value)

    def get_text_config(self, decoder: bool = False, encoder: bool = False) -> Self:
        """The configuration of the text model, which is this one; later versions of transformers ask."""
        return self

    def update_from_string(self, update_str: str) -> None:
        """Set fields from text such as ``"dropout=0.2,scale_embedding=true"``.

        Raises:
            BadSetting: no such field, or the text is none for the type that it has.
        """
        values = {}
        for pair in update_str.split(","):
            name, separator, text = pair.partition("=")
            if not separator or name not in self.field_names() | set(self.__dict__):
                raise BadSetting(f"{pair!r} sets no field of the configuration: write name=value")
            values[name] = as_type_of(name, text, getattr(self, name))
        self.update(values)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Without effect: classes of this package need no code beside a checkpoint to be found."""
