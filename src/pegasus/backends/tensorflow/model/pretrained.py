"""What every TF model has: its weights by canonical names, where they come from, how they are saved."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from pegasus.backends.learning.drawing import embedding_deviation, matrix_bound
from pegasus.backends.tensorflow.model.layers import NUMBERS, exact
from pegasus.checkpoint.formats import add_weights, row_of
from pegasus.checkpoint.pretrained import PretrainedMixin
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.spec.config import PegasusConfig
from pegasus.spec.names import KERAS
from pegasus.spec.parameters import Model, Parameter, parameters
from pegasus.spec.positions import sinusoid_table


class TFPegasusPreTrainedModel(PretrainedMixin, keras.Model):
    """What every TF PEGASUS model can do: load, save, resize; a Keras model whose weights are always made.

    Args:
        config: its shape.
        *inputs: refused.
        seed: where chance starts from, for fresh weights and for dropout; None: Keras' own generator.
        gradient_checkpointing: compute the activations of each layer again in the backward pass.
        initial: how weights are drawn: "transformers", all matrices with the deviation ``init_std``, or
            "authors", embeddings with D^-0.5 and matrices by Glorot's rule. Biases are 0, norms 1.
        **kwargs: ``name``, and ``dtype`` or a policy of Keras, such as "mixed_bfloat16".

    Raises:
        BadSetting: the configuration is none.
    """

    kind: ClassVar[Model]
    framework: ClassVar[str] = "tf"

    def __init__(
        self,
        config: PegasusConfig,
        *inputs: Any,
        seed: int | None = None,
        gradient_checkpointing: bool = False,
        initial: str = "transformers",
        _build: bool = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(config, PegasusConfig):
            raise BadSetting(f"a model is made from a PegasusConfig, not from {type(config).__name__}")
        if inputs or set(kwargs) - {"name", "dtype"}:
            named = ", ".join(sorted(set(kwargs) - {"name", "dtype"})) or "arguments without a name"
            raise UnsupportedArgument(f"a TF model takes no {named}: give a configuration, name and dtype")
        config.validate()
        keras.Model.__init__(self, **kwargs)
        self.config, self.gradient_checkpointing = config, gradient_checkpointing
        self.seeds = keras.random.SeedGenerator(seed)
        self._initial, self._builds = initial, _build

    def _begin(self) -> None:
        """Make the weights, and draw them unless they are to be loaded."""
        if self._builds:
            self._make({})

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; called by the constructor."""
        for name in ("model", "bias_layer", "lm_head"):
            if getattr(self, name, None) is not None:
                getattr(self, name).build()

    def get_config(self) -> dict[str, Any]:
        """What Keras keeps of the model beside its weights."""
        return {"config": self.config.to_dict(), "name": self.name}

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any) -> Self:
        """A model with fresh weights: of a ``PegasusConfig``, or of what ``get_config`` returned."""
        if isinstance(config, PegasusConfig):
            return cls(config, **kwargs)
        return cls(PegasusConfig.from_dict(config["config"]), name=config.get("name"), **kwargs)

    # -- weights by name -----------------------------------------------------------------------------------

    def _spec(self) -> dict[str, Parameter]:
        return parameters(self.config, self.kind)

    def variables_by_name(self) -> dict[str, Any]:
        """Keras' variables by the canonical names of ``spec.parameters``; matrices are [in, out]."""
        found = {self._name_of(variable.path): variable for variable in self.weights}
        return {name: found[name] for name in self._spec()}

    def _name_of(self, path: str) -> str:
        """The canonical name of what Keras calls ``path``."""
        name, _ = KERAS.canonical(path)
        return name.removeprefix("model.") if self.kind == "bare" else name

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> Self:
        kept: dict[str, Any] = {} if dtype in (None, "float32") else {"dtype": dtype}
        return cls(config, _build=False, **kept)

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        self._make(dict(arrays))

    def _fill_absent(self, names: Sequence[str]) -> None:
        """Nothing yet: what no file holds is drawn when the weights are made."""

    def _make(self, held: Mapping[str, RawTensor]) -> None:
        """Make the weights: of a checkpoint what it holds, the rest is drawn."""
        spec, seed = self._spec(), tf.cast(self.seeds.next(), tf.int32)

        def numbers(path: str) -> Any:
            leaf = spec[self._name_of(path)]
            if leaf.name in held:
                return _read(leaf, held[leaf.name])
            own = tf.random.experimental.stateless_fold_in(seed, zlib.crc32(leaf.name.encode()))
            return _drawn(leaf, self.config, self._initial, own)

        token = NUMBERS.set(numbers)
        try:
            self.build()
        finally:
            NUMBERS.reset(token)

    def _finish(self) -> Self:
        return self

    def _arrays(self, state_dict: Mapping[str, Any] | None = None) -> Iterator[tuple[str, RawTensor]]:
        if state_dict is not None:
            raise UnsupportedArgument("TF models save their own weights: leave state_dict out")
        spec = self._spec()
        for name, variable in self.variables_by_name().items():
            array = exact(variable).numpy()
            if spec[name].kind == "positions" and self._computed(array):
                continue
            yield name, RawTensor.from_array(array.T if spec[name].kind == "kernel" else array)

    def _computed(self, table: np.ndarray) -> bool:
        """Whether it is the table of positions that the next load computes anyway."""
        formula = sinusoid_table(len(table), table.shape[1], self.config.position_table)
        rounding = 1e-5 if table.dtype.itemsize > 2 else 2**-7
        return bool(np.allclose(table.astype(np.float32), formula, atol=rounding, rtol=0))

    # -- loading and saving --------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        from_pt: bool | None = None,
        seed: int | None = None,
        gradient_checkpointing: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model of a folder, a bundled name or a hub repository.

        Weights of every format are read: safetensors, ``pytorch_model.bin``, ``tf_model.h5``,
        ``flax_model.msgpack``, whole or sharded.

        Args:
            pretrained_model_name_or_path: a folder, a bundled name or ``owner/name`` on the hub.
            *model_args: refused; name what you mean.
            from_pt: without effect: what the files are is found out.
            seed: see the class.
            gradient_checkpointing: see the class.
            **kwargs: those of ``PretrainedMixin.from_pretrained``. ``dtype`` is what weights are kept and
                products taken in; float32 is left to the policy of Keras.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.gradient_checkpointing = gradient_checkpointing
        if seed is not None:
            model.seeds.state.assign(model.seeds._initializer(seed))
        return loaded

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        saved_model: bool = False,
        version: int = 1,
        *,
        safe_serialization: bool = True,
        max_shard_size: int | str = "5GB",
        **kwargs: Any,
    ) -> None:
        """Write weights as safetensors, ``config.json`` and, if there is one, ``generation_config.json``.

        Args:
            save_directory: made when it does not exist.
            saved_model: also write ``saved_model/VERSION``, which TensorFlow alone can serve.
            version: see there.
            safe_serialization: False writes ``tf_model.h5`` in place of safetensors.
            max_shard_size: bytes, or text such as "5GB"; larger models become several files and an index.
            **kwargs: those of ``PretrainedMixin.save_pretrained``.
        """
        if safe_serialization:
            super().save_pretrained(save_directory, max_shard_size=max_shard_size, **kwargs)
        elif kwargs:
            raise UnsupportedArgument(
                f"{', '.join(kwargs)} cannot be had with safe_serialization=False: save as safetensors"
            )
        else:
            self._save_h5(Path(save_directory), max_shard_size)
        if saved_model:
            self.export_saved_model(Path(save_directory) / "saved_model" / str(version))  # type: ignore[attr-defined]

    def _save_h5(self, folder: Path, max_shard_size: int | str) -> None:
        prefix, mine = "model." if self.kind == "bare" else "", self.variables_by_name()
        tensors = {}
        for name, leaf in self._spec().items():
            spelled = KERAS.spell(Parameter(prefix + name, leaf.shape, leaf.kind))
            tensors[spelled] = RawTensor.from_array(exact(mine[name]).numpy())
        with Staging(folder) as staging:
            add_weights(staging, row_of("h5"), tensors, max_shard_size)
            for name, text in self._texts(tensors):
                staging.add_text(name, text)
            staged = staging.names
        for path in [*folder.glob("tf_model*.h5*"), *folder.glob("model*.safetensors*")]:
            if path.name not in staged:
                path.unlink()

    # -- embeddings ----------------------------------------------------------------------------------------

    def get_input_embeddings(self) -> Any:
        """The layer of token embeddings that encoder and decoder share."""
        return self.model.shared

    def get_output_embeddings(self) -> Any:
        """The layer from states to logits: the token embeddings where weights are tied; or None."""
        if self.kind == "bare":
            return None
        return self.model.shared if self.lm_head is None else self.lm_head

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
        """Make room for more tokens, whose vectors are drawn, or for fewer.

        Args:
            new_num_tokens: V; None changes nothing.

        Returns:
            The layer of token embeddings.

        Raises:
            BadSetting: fewer tokens than the padding token needs, or an output layer of its own.
        """
        old = self.config.vocab_size
        if new_num_tokens is None or new_num_tokens == old:
            return self.get_input_embeddings()
        if new_num_tokens <= max(self.config.pad_token_id or 0, self.config.eos_token_id or 0, 0):
            raise BadSetting(f"{new_num_tokens} tokens do not hold those of padding and of the end")
        if getattr(self, "lm_head", None) is not None:
            raise BadSetting("the output layer is one of its own: resize it with the PyTorch classes")
        table = exact(self.model.shared.embeddings).numpy()
        shape, std = (max(new_num_tokens - old, 0), table.shape[1]), self.config.init_std
        drawn = std * tf.random.stateless_normal(shape, tf.cast(self.seeds.next(), tf.int32)).numpy()
        self.model.shared.resize(np.concatenate([table[:new_num_tokens], drawn.astype(table.dtype)]))
        if self.kind == "conditional":
            bias = exact(self.bias_layer.bias).numpy()[:, :new_num_tokens]
            self.bias_layer.resize(np.pad(bias, ((0, 0), (0, shape[0]))))
        self.config.vocab_size = new_num_tokens
        self.forget_programs()  # type: ignore[attr-defined]
        return self.get_input_embeddings()

    @property
    def dummy_inputs(self) -> dict[str, tf.Tensor]:
        """A batch of two small inputs, to try a model with."""
        ids = tf.constant([[4, 6, 10, 4, 2], [4, 8, 12, 2, 0]]) % self.config.vocab_size
        mask = tf.cast(ids != self.config.pad_token_id, tf.int32)
        return {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids}

    @property
    def device(self) -> str:
        """Where the weights are, such as "cpu:0"."""
        place = tf.DeviceSpec.from_string(exact(self.model.shared.embeddings).device)
        return f"{place.device_type.lower()}:{place.device_index}"


def _read(leaf: Parameter, raw: RawTensor) -> np.ndarray:
    """Numbers of a checkpoint, copied: a tensor may go on using the memory that it is made of."""
    array = raw.array()
    copied = np.array(array.T if leaf.kind == "kernel" else array, order="C", copy=True)
    raw.release()
    return copied


def _drawn(leaf: Parameter, config: PegasusConfig, initial: str, seed: tf.Tensor) -> Any:
    """Fresh numbers of one parameter, as Keras keeps it."""
    if leaf.kind == "positions":
        return sinusoid_table(leaf.shape[0], leaf.shape[1], config.position_table)
    if leaf.kind not in ("kernel", "embedding"):
        return np.full(leaf.shape, 1.0 if leaf.kind == "scale" else 0.0, np.float32)
    shape = leaf.shape[::-1] if leaf.kind == "kernel" else leaf.shape
    if initial == "authors" and leaf.kind == "kernel":
        bound = matrix_bound(*leaf.shape)
        return tf.random.stateless_uniform(shape, seed, -bound, bound)
    std = embedding_deviation(config.d_model) if initial == "authors" else config.init_std
    values = (std * tf.random.stateless_normal(shape, seed)).numpy()
    if leaf.kind == "embedding" and config.pad_token_id is not None:
        values[config.pad_token_id] = 0
    return values
