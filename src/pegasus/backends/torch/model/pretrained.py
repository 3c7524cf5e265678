"""The PyTorch side of loading and saving."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pegasus.backends.torch.compatibility.bin_files import BinFiles
from pegasus.backends.torch.compatibility.placement import Spread, spread
from pegasus.backends.torch.model.layers import SinusoidalPositions
from pegasus.backends.torch.raw import from_torch, to_torch, torch_dtype
from pegasus.checkpoint.pretrained import PretrainedMixin
from pegasus.checkpoint.raw import RawTensor
from pegasus.spec.parameters import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pegasus.spec.config import PegasusConfig


class TorchPretrained(PretrainedMixin):
    """What ``PretrainedMixin`` needs of PyTorch; it is combined with ``nn.Module``."""

    #: Modules that stay on one device when a model is spread over several.
    _no_split_modules: ClassVar[list[str] | None] = ["EncoderLayer", "DecoderLayer"]
    _skip_keys_device_placement = "past_key_values"
    #: Names that a saved file lacks because they are only other names of one tensor.
    _tied_weights_keys: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_load_missing: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_save: ClassVar[list[str] | None] = None
    _keep_in_fp32_modules: ClassVar[list[str] | None] = None
    _auto_class: ClassVar[str | None] = None
    _supports_flash_attn_2: ClassVar[bool] = False

    @classmethod
    def _from_config(cls, config: PegasusConfig, **kwargs: Any) -> Self:
        """A model with fresh weights; ``torch_dtype`` is what they are kept as."""
        dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None))
        make: Any = cls
        model = make(config, **kwargs)
        return model if dtype is None else model.to(torch_dtype(dtype))  # type: ignore[no-any-return]

    # -- the hooks of PretrainedMixin --------------------------------------------------------------------

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> Self:
        make: Any = cls  # combined with nn.Module, which takes the configuration
        with torch.device("meta"):
            model = make(config)
        return model if dtype is None else model.to(torch_dtype(dtype))  # type: ignore[no-any-return]

    def _more_leaves(self, known: Mapping[str, Parameter]) -> list[Parameter]:
        """What a subclass added to the model, such as a head of its own; tied tensors once."""
        state: dict[str, Tensor] = self.state_dict(keep_vars=True)  # type: ignore[attr-defined]
        seen = {id(state[name]) for name in known if name in state}
        found = []
        for name, tensor in state.items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found.append(Parameter(name, tuple(tensor.shape), self._kind_of(name)))
        return found

    def _kind_of(self, name: str) -> str:
        if isinstance(self._place_of(name)[0], SinusoidalPositions):
            return "positions"
        return "embedding" if name.endswith(("shared.weight", "embed_tokens.weight")) else "own"

    @classmethod
    def _raw(cls, state_dict: Mapping[str, Tensor]) -> dict[str, RawTensor]:
        return {name: from_torch(tensor) for name, tensor in state_dict.items()}

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        for name, raw in arrays:
            owner, leaf, old = self._place_of(name)
            # A copy: the file's map must not outlive the load, nor training write into it.
            tensor = to_torch(raw).to(dtype=old.dtype, copy=True)
            if isinstance(old, nn.Parameter):
                setattr(owner, leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
            else:
                setattr(owner, leaf, tensor)

    def _place_of(self, name: str) -> tuple[nn.Module, str, Tensor]:
        module, _, leaf = name.rpartition(".")
        owner = self.get_submodule(module)  # type: ignore[attr-defined]
        return owner, leaf, getattr(owner, leaf)

    @torch.no_grad()
    def _fill_absent(self, names: Sequence[str]) -> None:
        owners = {id(owner): owner for owner, _, _ in map(self._place_of, names)}
        for owner in owners.values():
            _give_storage(owner)
            self._initialize_weights(owner)  # type: ignore[attr-defined]

    def _finish(self) -> Self:
        self.tie_weights()  # type: ignore[attr-defined]
        return self.eval()  # type: ignore[attr-defined,no-any-return]

    def _spread(self, **how: Any) -> Self:
        return spread(self, Spread(**how))  # type: ignore[no-any-return]

    def _arrays(self, state_dict: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, RawTensor]]:
        state = self._whole_state() if state_dict is None else state_dict
        for name in self._leaves():
            if name in (self._keys_to_ignore_on_save or ()):
                continue
            owner = self.get_submodule(name.rpartition(".")[0])  # type: ignore[attr-defined]
            # A table that the formula gives is not stored; one that a checkpoint brought must not be lost.
            if name in state and not (isinstance(owner, SinusoidalPositions) and owner.is_computed()):
                yield name, from_torch(state[name])

    def _write_pickled(
        self,
        folder: Path,
        state_dict: Mapping[str, Tensor] | None,
        max_shard_size: int | str,
        variant: str | None,
        save_function: Callable[..., Any] | None,
    ) -> None:
        state = self._whole_state() if state_dict is None else state_dict
        kept = {
            name: value for name, value in state.items() if name not in (self._keys_to_ignore_on_save or ())
        }
        texts = self._texts(self._to_write(state_dict))
        BinFiles(max_shard_size, variant, save_function).write(folder, kept, texts)

    def _whole_state(self) -> Mapping[str, Tensor]:
        state: dict[str, Tensor] = self.state_dict()  # type: ignore[attr-defined]
        if not any(tensor.is_meta for tensor in state.values()):
            return state
        # Parts of a model that device_map put on the CPU or the disk come back only when they are used.
        modeling = importlib.import_module("accelerate.utils.modeling")
        found: dict[str, Tensor] = modeling.get_state_dict_offloaded_model(self)
        return found


def _give_storage(module: nn.Module) -> None:
    """Memory for what lies on the meta device in this module itself."""
    # empty_like on a meta tensor would import PyTorch's compiler, half a second.
    for leaf, old in list(module.named_parameters(recurse=False)):
        if old.is_meta:
            fresh = torch.empty(old.shape, dtype=old.dtype)
            setattr(module, leaf, nn.Parameter(fresh, requires_grad=old.requires_grad))
    for leaf, old in list(module.named_buffers(recurse=False)):
        if old.is_meta:
            setattr(module, leaf, torch.zeros(old.shape, dtype=old.dtype))
