"""What every Flax model has: its parameters, where they come from, how they are saved and cast."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from pegasus.backends.jax.model import weights
from pegasus.backends.jax.model.layers import Sizes
from pegasus.backends.jax.model.modules import BareModule, ConditionalModule
from pegasus.checkpoint.pretrained import PretrainedMixin
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import parameters
from pegasus.spec.positions import sinusoid_table

_FLOATS = (jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64)
#: Weight files that a loader would take before ``flax_model.msgpack``.
_BEFORE_MSGPACK = ("model.safetensors", "model.safetensors.index.json")
MSGPACK = "flax_model.msgpack"


class FlaxPegasusPreTrainedModel(PretrainedMixin):
    """What every Flax PEGASUS model can do: load, save, cast; it stands beside a Linen module.

    Args:
        config: its shape.
        input_shape: kept for code written for transformers; parameters do not depend on it.
        seed: where chance starts from, for fresh parameters and for sampling.
        dtype: the type of products: float32, bfloat16 or float16. Parameters are float32 all the same.
        _do_init: False: no parameters are made, and every call must bring them as ``params``.
        gradient_checkpointing: compute the activations of each layer again instead of keeping them.

    Raises:
        BadSetting: the configuration or the type is none.
    """

    module_class: ClassVar[type[BareModule] | type[ConditionalModule]]
    framework: ClassVar[str] = "flax"

    def __init__(
        self,
        config: PegasusConfig,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int = 0,
        dtype: Any = jnp.float32,
        _do_init: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        if not isinstance(config, PegasusConfig):
            raise BadSetting(f"a model is made from a PegasusConfig, not from {type(config).__name__}")
        self.config, self.input_shape, self.seed = config, tuple(input_shape), seed
        self.dtype, self.gradient_checkpointing = _computing_type(dtype), gradient_checkpointing
        self.key = jax.random.PRNGKey(seed)
        self._is_initialized = _do_init
        self._params: dict[Any, Any] | None = None
        #: Tables of positions that a checkpoint brought and that no formula gives, by side.
        self._stored: dict[str, np.ndarray] = {}
        self._tables: dict[tuple[str, int], jax.Array] = {}
        #: "of": parameters, "made": what ``step_variables`` made of them; copies of the model share it.
        self._turned: dict[str, Any] = {}
        if _do_init:
            self._params = self.init_weights(self.key, self.input_shape)

    # -- the module and its parameters ---------------------------------------------------------------------

    @property
    def module(self) -> Any:
        """The Linen module; equal configurations give equal modules."""
        return self.module_class(Sizes.of(self.config), self.dtype, self.gradient_checkpointing)

    @property
    def params(self) -> dict[str, Any]:
        """The tree of parameters.

        Raises:
            BadSetting: the model was made with ``_do_init=False`` and holds none.
        """
        if self._params is None or not self._is_initialized:
            raise BadSetting(
                "this model was made with _do_init=False and holds no parameters: make them by "
                "`init_weights`, or take those that `from_pretrained` returned, and pass them as `params`"
            )
        return self._params

    @params.setter
    def params(self, params: Any) -> None:
        if not self._is_initialized:
            raise BadSetting("a model made with _do_init=False keeps no parameters: pass them as `params`")
        self._params = weights.checked(params, self.required_params)

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """The paths of all parameters."""
        return set(weights.leaves(self.config, self.kind))

    @property
    def params_shape_tree(self) -> dict[str, Any]:
        """The tree with shapes and types in place of arrays."""
        return weights.shape_tree(self.config, self.kind)

    def init_weights(
        self, rng: jax.Array, input_shape: tuple[int, ...] = (1, 1), params: Any = None
    ) -> dict[str, Any]:
        """Fresh parameters.

        Args:
            rng: where chance starts from.
            input_shape: without effect.
            params: a tree that may lack some: only those are drawn.
        """
        given = {} if params is None else weights.flat(params)
        leaves = weights.leaves(self.config, self.kind)
        absent = {path: leaf for path, leaf in leaves.items() if path not in given}
        drawn = weights.draw(self.config, absent, rng)
        return weights.nested({path: given[path] if path in given else drawn[path] for path in leaves})

    def num_params(self, params: Any = None) -> int:
        """How many numbers the parameters hold."""
        return sum(
            int(np.size(leaf)) for leaf in jax.tree.leaves(self.params if params is None else params)
        )

    @property
    def device(self) -> str:
        """Where the parameters are: "cpu", "gpu" or "tpu"."""
        one = jax.tree.leaves(self._params)[:1] if self._params else []
        return str(next(iter(one[0].devices())).platform if one else jax.default_backend())

    def enable_gradient_checkpointing(self) -> None:
        """Compute the activations of each layer again instead of keeping them."""
        self.gradient_checkpointing = True

    def to_bf16(self, params: Any, mask: Any = None) -> Any:
        """Parameters in bfloat16, where ``mask`` (the same tree of booleans) is true; a new tree."""
        return weights.cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Any, mask: Any = None) -> Any:
        """Parameters in float16, where ``mask`` is true; a new tree."""
        return weights.cast(params, jnp.float16, mask)

    def to_fp32(self, params: Any, mask: Any = None) -> Any:
        """Parameters in float32, where ``mask`` is true; a new tree."""
        return weights.cast(params, jnp.float32, mask)

    # -- positions -----------------------------------------------------------------------------------------

    def variables(self, params: Any, longest: int = 0) -> dict[str, Any]:
        """What the module computes with: parameters, and tables of at least ``longest`` positions."""
        rows = self.config.max_position_embeddings
        while rows < longest:
            rows *= 2
        sides: dict[str, Any] = {
            side: {"table": self._table(side, rows)} for side in ("encoder", "decoder")
        }
        tree = self.params if params is None else params
        return {"params": tree, "positions": sides if self.kind == "bare" else {"model": sides}}

    def step_variables(self, longest: int) -> dict[str, Any]:
        """Those with which one token a row is read: on a CPU the decoder's matrices are turned, once.

        They are kept beside the parameters until these are others.
        """
        found = self.variables(None, longest)
        if self.device != "cpu":
            return found
        leaves = jax.tree.leaves(self.params)
        known = self._turned.get("of", [])
        if len(known) != len(leaves) or any(one is not other for one, other in zip(known, leaves)):
            made = weights.turned(self.config, self.kind, self.params, self.dtype)
            self._turned.update(of=leaves, made=made)
        return found | {"turned": self._turned["made"]}

    def _table(self, side: str, rows: int) -> jax.Array:
        if (side, rows) not in self._tables:
            stored = self._stored.get(side)
            table = sinusoid_table(rows, self.config.d_model, self.config.position_table)
            if stored is not None:
                table[: len(stored)] = stored[:rows]
            with jax.ensure_compile_time_eval():  # also where it is first asked for within jit
                self._tables[side, rows] = jnp.asarray(table)
        return self._tables[side, rows]

    # -- loading -------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        dtype: Any = jnp.float32,
        *model_args: Any,
        _do_init: bool = True,
        seed: int = 0,
        input_shape: tuple[int, ...] = (1, 1),
        from_pt: bool | None = None,
        torch_dtype: Any = None,
        gradient_checkpointing: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model of a folder, a bundled name or a hub repository.

        Weights of every format are read: safetensors, ``pytorch_model.bin``, ``flax_model.msgpack``, whole
        or sharded.

        Args:
            pretrained_model_name_or_path: a folder, a bundled name or ``owner/name`` on the hub.
            dtype: the type of products; parameters are float32 all the same.
            *model_args: refused; name what you mean.
            _do_init: False: the model keeps no parameters; they are returned beside it.
            seed: see the class.
            input_shape: see the class.
            from_pt: without effect: what the files are is found out.
            torch_dtype: what the parameters are kept as, for those who want less memory.
            gradient_checkpointing: see the class.
            **kwargs: those of ``PretrainedMixin.from_pretrained``.

        Returns:
            The model; with ``_do_init=False`` the pair of it and the parameters; with
            ``output_loading_info`` the report comes last.
        """
        computing = _computing_type(dtype)
        loaded = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, dtype=torch_dtype, **kwargs
        )
        model, *info = loaded if isinstance(loaded, tuple) else (loaded,)
        model.dtype, model.gradient_checkpointing = computing, gradient_checkpointing
        model.seed, model.input_shape, model.key = seed, tuple(input_shape), jax.random.PRNGKey(seed)
        found = model._params = model._complete()
        model._is_initialized = _do_init
        if not _do_init:
            model._params = None
            return (model, found, *info)
        return (model, *info) if info else model

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> Self:
        model = cls(config, _do_init=False)
        model._params = {}
        return model

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        spec = parameters(self.config, self.kind)
        paths = {leaf.name: path for path, leaf in weights.leaves(self.config, self.kind).items()}
        assert self._params is not None
        for name, raw in arrays:
            if spec[name].kind == "positions":
                self._keep_table(name, np.array(raw.array(), np.float32))
            else:
                self._params[paths[name]] = weights.from_raw(spec[name], raw, self._kept_type())

    def _keep_table(self, name: str, table: np.ndarray) -> None:
        """A table that the formula gives is not kept; another must not be lost."""
        formula = sinusoid_table(len(table), table.shape[1], self.config.position_table)
        rounding = 1e-5 + 2 * float(jnp.finfo(self._kept_type()).eps)
        if not np.allclose(table, formula, atol=rounding, rtol=0):
            self._stored["encoder" if "encoder." in name else "decoder"] = table

    def _fill_absent(self, names: Sequence[str]) -> None:
        """Nothing yet: ``_complete`` draws what is missing once the seed is known."""

    def _finish(self) -> Self:
        return self

    def _complete(self) -> dict[str, Any]:
        """The accepted parameters as a tree, with those that no file held."""
        assert self._params is not None
        leaves = weights.leaves(self.config, self.kind)
        absent = {path: leaf for path, leaf in leaves.items() if path not in self._params}
        drawn = weights.draw(self.config, absent, self.key, self._kept_type())
        return weights.nested({**self._params, **drawn})

    def _kept_type(self) -> Any:
        return jnp.dtype(self.config.dtype_name or "float32")

    # -- saving --------------------------------------------------------------------------------------------

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        params: Any = None,
        *,
        safe_serialization: bool = True,
        **kwargs: Any,
    ) -> None:
        """Write weights as safetensors, ``config.json`` and, if there is one, ``generation_config.json``.

        Args:
            save_directory: made when it does not exist.
            params: a tree to write in place of the model's own.
            safe_serialization: False writes ``flax_model.msgpack`` in place of safetensors, whole.
            **kwargs: those of ``PretrainedMixin.save_pretrained``.
        """
        tree = weights.checked(self.params if params is None else params, self.required_params)
        if safe_serialization:
            super().save_pretrained(save_directory, state_dict=tree, **kwargs)
            return
        if kwargs:
            raise UnsupportedArgument(
                f"{', '.join(kwargs)} cannot be had with safe_serialization=False: save as safetensors"
            )
        folder = Path(save_directory)
        content = serialization.to_bytes(jax.tree.map(np.asarray, tree))
        with Staging(folder) as staging:
            staging.add_bytes(MSGPACK, content)
            for name, text in self._texts(dict(self._arrays(tree))):
                staging.add_text(name, text)
        for name in _BEFORE_MSGPACK:
            (folder / name).unlink(missing_ok=True)

    def _arrays(self, state_dict: Mapping[str, Any] | None = None) -> Iterator[tuple[str, RawTensor]]:
        yield from weights.to_raw(self.config, self.kind, self.params if state_dict is None else state_dict)
        prefix = "" if self.kind == "bare" else "model."
        for side, table in self._stored.items():
            yield f"{prefix}{side}.embed_positions.weight", RawTensor.from_array(table)


def _computing_type(dtype: Any) -> Any:
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found not in [jnp.dtype(one) for one in _FLOATS]:
        raise BadSetting(
            f"dtype is {dtype!r}: products are taken in float32, bfloat16 or float16. What the parameters "
            "are kept as is said by torch_dtype, or changed by to_bf16, to_fp16 and to_fp32"
        )
    return found
