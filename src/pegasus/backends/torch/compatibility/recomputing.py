"""Gradient checkpointing: activations of a layer are computed again in the backward pass, not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pegasus.errors import BadSetting, UnsupportedArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What ``torch.utils.checkpoint.checkpoint`` is told unless the caller says otherwise.
_USUAL = {"use_reentrant": False}


class Recomputing:
    """Turning gradient checkpointing on and off, mixed into every model class."""

    supports_gradient_checkpointing = True

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Compute the activations of layers again in the backward pass instead of keeping them.

        Args:
            gradient_checkpointing_kwargs: for ``torch.utils.checkpoint.checkpoint``. Checkpoints are not
                reentrant unless this says ``use_reentrant=True``; the gradients are the same.
            every_n_layers: of how many layers one is computed again, the first of each stack included.
            offload: not offered.
        """
        if offload:
            raise UnsupportedArgument(
                "`offload=True` is not taken here: use torch.autograd.graph.save_on_cpu around the step"
            )
        if not isinstance(every_n_layers, int) or every_n_layers < 1:
            raise BadSetting(f"every_n_layers is {every_n_layers!r}: give a whole number above 0")
        settings = {**_USUAL, **(gradient_checkpointing_kwargs or {})}
        for stack in self._stacks():
            stack.gradient_checkpointing = True
            stack.checkpoint_settings, stack.checkpoint_every = settings, every_n_layers

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations again."""
        for stack in self._stacks():
            stack.gradient_checkpointing = False

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """The name of ``gradient_checkpointing_enable`` in transformers 5."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, every_n_layers, offload)

    def activation_checkpointing_disable(self) -> None:
        """The name of ``gradient_checkpointing_disable`` in transformers 5."""
        self.gradient_checkpointing_disable()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether gradient checkpointing is on."""
        return any(stack.gradient_checkpointing for stack in self._stacks())

    @property
    def is_activation_checkpointing(self) -> bool:
        """The name of ``is_gradient_checkpointing`` in transformers 5."""
        return self.is_gradient_checkpointing

    def _stacks(self) -> list[Any]:
        return [m for m in self.modules() if hasattr(m, "gradient_checkpointing")]  # type: ignore[attr-defined]

    # -- for adapters beside frozen weights --------------------------------------------------------------

    def enable_input_require_grads(self) -> None:
        """Let embeddings ask for gradients although their table is frozen.

        Reentrant checkpoints of a model whose weights are all frozen would otherwise learn nothing.
        """

        def ask(module: nn.Module, inputs: Any, output: Tensor) -> None:
            output.requires_grad_(True)

        self.disable_input_require_grads()
        handle = self.get_input_embeddings().register_forward_hook(ask)  # type: ignore[attr-defined]
        self.__dict__["_require_grads_hook"] = handle

    def disable_input_require_grads(self) -> None:
        """Take that back."""
        handle = self.__dict__.pop("_require_grads_hook", None)
        if handle is not None:
            handle.remove()
