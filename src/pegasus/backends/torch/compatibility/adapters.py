"""Adapters inside a model, by the ``peft`` package: added, loaded, chosen, switched off."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pegasus.errors import BackendMissing, BadSetting, UnsupportedArgument

_USUAL = "default"


class Adapters:
    """The methods of transformers' adapter mixin, mixed into every model class."""

    device: Any

    def add_adapter(self, adapter_config: Any, adapter_name: str | None = None) -> None:
        """Put a fresh adapter into the model and let it learn.

        Args:
            adapter_config: a configuration of ``peft``, such as its ``LoraConfig``.
            adapter_name: how it is called from now on; "default" when nothing is said.

        Raises:
            BackendMissing: ``peft`` is not installed.
            BadSetting: there is an adapter of that name.
        """
        peft, name = _peft(), adapter_name or _USUAL
        known = self._adapter_configs()
        if name in known:
            raise BadSetting(f"there is an adapter {name!r} already: give another name")
        peft.inject_adapter_in_model(adapter_config, self, name)
        known[name] = adapter_config
        self.set_adapter(name)

    def load_adapter(
        self,
        peft_model_id: str | None = None,
        adapter_name: str | None = None,
        *,
        peft_config: Mapping[str, Any] | None = None,
        adapter_state_dict: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        """Put an adapter that ``peft`` saved into the model.

        Args:
            peft_model_id: a folder, or a repository of the hub.
            adapter_name: how it is called from now on; "default" when nothing is said.
            peft_config: its configuration, when it is not to be read.
            adapter_state_dict: its weights, when they are not to be read.
            **options: ``revision`` and ``token`` of the repository.

        Raises:
            BackendMissing: ``peft`` is not installed.
            BadSetting: neither a place nor weights with a configuration were given.
        """
        peft, name = _peft(), adapter_name or _USUAL
        kept = {key: options.pop(key, None) for key in ("revision", "token")}
        unknown = [key for key, value in options.items() if value is not None and key != "device_map"]
        if unknown:
            raise UnsupportedArgument(f"load_adapter does not take {unknown}: load, then move the model")
        where = {key: value for key, value in kept.items() if value is not None}
        if peft_model_id is None and (peft_config is None or adapter_state_dict is None):
            raise BadSetting("give peft_model_id, or both adapter_state_dict and peft_config")
        config = peft_config or peft.PeftConfig.from_pretrained(peft_model_id, **where)
        weights = adapter_state_dict or importlib.import_module("peft.utils").load_peft_weights(
            peft_model_id,
            device=str(self.device),
            **where,  # type: ignore[attr-defined]
        )
        self.add_adapter(config, name)
        plain = {key.removeprefix("base_model.model."): value for key, value in weights.items()}
        peft.set_peft_model_state_dict(self, plain, name)
        self.eval()  # type: ignore[attr-defined]

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Use this adapter, or these together, and let them learn."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        unknown = sorted(set(names) - set(self._adapter_configs()))
        if unknown:
            raise BadSetting(f"there is no adapter {unknown}: there are {sorted(self._adapter_configs())}")
        for layer in self._adapter_layers():
            layer.set_adapter(names if len(names) > 1 else names[0])

    def disable_adapters(self) -> None:
        """Compute as if there were no adapters."""
        self._switch_adapters(False)

    def enable_adapters(self) -> None:
        """Use adapters again."""
        self._switch_adapters(True)

    def active_adapters(self) -> list[str]:
        """The names of the adapters in use."""
        layers = self._adapter_layers()
        if not layers:
            raise BadSetting("the model has no adapter: call add_adapter or load_adapter first")
        active = layers[0].active_adapter
        return [active] if isinstance(active, str) else list(active)

    def active_adapter(self) -> str:
        """The name of the first adapter in use."""
        return self.active_adapters()[0]

    def get_adapter_state_dict(self, adapter_name: str | None = None) -> dict[str, Tensor]:
        """The weights of one adapter; of the first in use when no name is given."""
        name = adapter_name or self.active_adapter()
        found: dict[str, Tensor] = _peft().get_peft_model_state_dict(self, adapter_name=name)
        return found

    def _adapter_configs(self) -> dict[str, Any]:
        # peft looks for them under this name.
        known: dict[str, Any] = self.__dict__.setdefault("peft_config", {})
        return known

    def _adapter_layers(self) -> list[Any]:
        layer = importlib.import_module("peft.tuners.tuners_utils").BaseTunerLayer if _has_peft() else ()
        return [module for module in self.modules() if isinstance(module, layer)]  # type: ignore[attr-defined]

    def _switch_adapters(self, on: bool) -> None:
        if not self.active_adapters():
            return
        for layer in self._adapter_layers():
            layer.enable_adapters(enabled=on)


def _has_peft() -> bool:
    return importlib.util.find_spec("peft") is not None


def _peft() -> Any:
    if not _has_peft():
        raise BackendMissing(
            "adapters need peft, which is not installed: pip install 'pegasus-summarizer[lora]'"
        )
    return importlib.import_module("peft")
