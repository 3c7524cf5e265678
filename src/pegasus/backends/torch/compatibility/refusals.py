"""Methods of transformers' models that are refused here, each with what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

from pegasus.errors import NotOffered

_GUIDE = "docs/coming-from-transformers.md lists every name."


def _refuse(name: str, advice: str) -> NoReturn:
    raise NotOffered(f"{name} is not offered: {advice}. {_GUIDE}")


class Refusals:
    """What a model does not do, mixed into every model class."""

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        """Refused where there is no head; the classes that have one say what the next call takes."""
        _refuse(
            "prepare_inputs_for_generation",
            f"{type(self).__name__} has no language-modelling head, use PegasusForConditionalGeneration",
        )

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Without effect: classes of this package need no code beside a checkpoint to be found."""

    def to_bettertransformer(self) -> NoReturn:
        """Refused: the fast attention is used without it."""
        _refuse("to_bettertransformer", "the fastest attention that is exact is used anyway, leave it out")

    def reverse_bettertransformer(self) -> NoReturn:
        """Refused: there is nothing to reverse."""
        _refuse("reverse_bettertransformer", "there is nothing to reverse, leave it out")

    def add_memory_hooks(self) -> NoReturn:
        """Refused: profilers measure memory better."""
        _refuse("add_memory_hooks", "measure with torch.profiler.profile(profile_memory=True)")

    def reset_memory_hooks_state(self) -> NoReturn:
        """Refused: see ``add_memory_hooks``."""
        _refuse("reset_memory_hooks_state", "measure with torch.profiler.profile(profile_memory=True)")

    def retrieve_modules_from_names(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: PyTorch finds modules by name."""
        _refuse("retrieve_modules_from_names", "ask get_submodule(name) for each")
