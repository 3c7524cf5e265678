"""What a model answers to ``isinstance(model, transformers.PreTrainedModel)``: yes.

Some tools treat a model as one of theirs only if it is an instance of that class; transformers' Trainer,
for one, otherwise writes a bare state dict and fails at tied weights. ``PreTrainedModel`` is a plain class
that knows no virtual subclasses, and inheriting from it would bring in several hundred methods and the
import of transformers. But ``isinstance`` also believes an object's ``__class__``. So, once somebody else
has imported transformers, ``model.__class__`` is a subclass of the model's real class *and* of theirs.
``type(model)`` stays what it is, no attribute of the model is looked up there, and without transformers
nothing happens.
"""

from __future__ import annotations

import copyreg
import functools
import sys
from typing import Any, ClassVar

#: The module that defines their class. It is looked at only when it has been imported, never imported here.
_THEIRS = "transformers.modeling_utils"


class Presented:
    """What ``__class__`` says, mixed into every model class."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Ends here: that of transformers 5 evaluates the annotations of every class it meets."""

    def _seen_as(self) -> type:
        """The real class; where transformers is in use, one that is also a subclass of its base class."""
        theirs = getattr(sys.modules.get(_THEIRS), "PreTrainedModel", None)
        real = type(self)
        return real if theirs is None or issubclass(real, theirs) else _both(real, theirs)  # type: ignore[arg-type]

    def _become(self, value: type) -> None:
        """FSDP2 gives each module a class of its own, made from the one it finds."""
        object.__dict__["__class__"].__set__(self, value)

    __class__: Any = property(_seen_as, _become)
    #: TorchScript would compile every property of a class whose object it traces.
    __jit_unused_properties__: ClassVar[list[str]] = [
        *("__class__", "base_model", "device", "dtype", "dummy_inputs", "framework", "generation_config"),
        *("is_activation_checkpointing", "is_gradient_checkpointing", "name_or_path"),
    ]

    @classmethod
    def is_custom_code(cls) -> bool:
        """True: transformers 5 has no renaming of weights to do for a class that is not its own."""
        return True

    @classmethod
    def is_remote_code(cls) -> bool:
        """False: the class came with no checkpoint."""
        return False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles name the real class."""
        return _unpickled, (type(self),), self.__dict__


def _unpickled(cls: type) -> Any:
    return object.__new__(cls)


class _TwoFaced(type):
    """What makes the classes of ``_both``, so that a pickle names what they were made of."""


def _refound(real: type) -> type:
    theirs = getattr(sys.modules.get(_THEIRS), "PreTrainedModel", None)
    return real if theirs is None else _both(real, theirs)


def _reduced(cls: Any) -> Any:
    return _refound, (cls.real_class,)


copyreg.pickle(_TwoFaced, _reduced)


@functools.cache
def _both(real: type, theirs: type) -> type:
    """A class that nobody makes objects of: asked for one, it makes one of the real class."""

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        made: Any = object.__new__(real)
        made.__init__(*args, **kwargs)
        return made

    names = {"__new__": new, "__module__": real.__module__, "__doc__": real.__doc__, "real_class": real}
    return _TwoFaced(real.__name__, (real, theirs), names)
