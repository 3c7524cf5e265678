"""What a job takes over from one of the paper's tasks, or from one of the known pre-trainings."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Any

from pegasus.data.pretraining import PRESETS
from pegasus.data.tasks import find_task
from pegasus.errors import BadSetting

#: The shapes of the paper's models.
SIZES: dict[str, dict[str, int]] = {
    "large": {
        "d_model": 1024, "encoder_layers": 16, "decoder_layers": 16, "encoder_attention_heads": 16,
        "decoder_attention_heads": 16, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096,
    },
    "base": {
        "d_model": 768, "encoder_layers": 12, "decoder_layers": 12, "encoder_attention_heads": 12,
        "decoder_attention_heads": 12, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072,
    },
}  # fmt: skip
#: What all of them have, and ``PegasusConfig()`` has not.
FAMILY: dict[str, Any] = {
    "activation_function": "relu",
    "scale_embedding": True,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "max_position_embeddings": 1024,
}
#: Students that were published, by the layers of their encoder and decoder: of PEGASUS, which has 16 of
#: each, and of models with 12. Which layers they begin with is ``pegasus.spec.layer_maps``.
STUDENTS: dict[str, tuple[int, int]] = {
    "16-8": (16, 8), "16-4": (16, 4), "12-12": (12, 12),
    "12-6": (12, 6), "12-3": (12, 3), "12-1": (12, 1), "9-6": (9, 6), "6-6": (6, 6),
}  # fmt: skip


def of_student(name: Any) -> dict[str, Any]:
    """The tables of a distillation that a preset fills in: depths, and label smoothing.

    Raises:
        BadSetting: no such preset; the nearest one is named.
    """
    if not isinstance(name, str):
        return {}
    if name not in STUDENTS:
        near = difflib.get_close_matches(name, STUDENTS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(STUDENTS)}"
        raise BadSetting(f"no student is named {name!r}: {hint}")
    encoder, decoder = STUDENTS[name]
    return {
        "student": {"encoder_layers": encoder, "decoder_layers": decoder},
        "objective": {"label_smoothing": 0.1},
    }


def of_task(name: Any) -> dict[str, Any]:
    """The tables of a fine-tuning job that one of the paper's tasks fills in; the job wins over them.

    Its columns are taken over only together with its data: files of one's own have names of their own.
    """
    if not isinstance(name, str):  # nothing, or something that the job's types refuse
        return {}
    task = find_task(name)
    return {
        "data": {
            "train": [f"hub:{task.hub}@train"],
            "validation": [f"hub:{task.hub}@validation"],
            "max_source": task.max_input,
            "max_target": task.max_target,
        },
        "run": {"steps": task.steps},
        "optim": {"rate": task.learning_rate},
        "objective": {"label_smoothing": task.label_smoothing},
        "evaluation": {"num_beams": task.num_beams, "length_penalty": task.length_penalty},
    }


def of_pretraining(name: Any) -> dict[str, Any]:
    """The tables of a pre-training job that a preset fills in.

    Raises:
        BadSetting: no such preset; the nearest one is named.
    """
    if not isinstance(name, str):
        return {}
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}"
        raise BadSetting(f"no preset is named {name!r}: {hint}")
    return {"example": asdict(PRESETS[name])}
