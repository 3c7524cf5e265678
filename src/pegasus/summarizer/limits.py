"""What model and machine can hold: how many texts are computed together, and how long a summary may be."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting
from pegasus.summarizer.settings import MOST_BEAMS

_FLOAT = 4
#: The part of the free memory that a batch may take; what is not counted here needs the rest.
_SHARE = 0.7
_LENGTHS = ("max_length", "min_length", "max_new_tokens", "min_new_tokens")


def check_lengths(options: Mapping[str, Any], limit: int) -> None:
    """Refuse lengths beyond the model's positions.

    Args:
        options: what `generate` will be told.
        limit: positions of the model.

    Raises:
        BadSetting: a length is beyond them.
    """
    for name in _LENGTHS:
        if options.get(name) is not None and options[name] > limit:
            raise BadSetting(
                f"generate's {name} is {options[name]:,}, and this model was made for summaries of at most "
                f"{limit:,} tokens: ask for less."
            )


def most_texts(config: Any, source: int, summary: int, beams: int, free: int | None = None) -> int:
    """Return how many texts can be computed together on a CPU.

    Args:
        config: the model's.
        source: tokens of the longest text.
        summary: tokens of the longest summary.
        beams: beams of the search.
        free: bytes that are free; None looks.

    Raises:
        BadSetting: there are too many beams, or not even one text fits.
    """
    if beams > MOST_BEAMS:
        raise BadSetting(
            f"The checkpoint says num_beams {beams:,}: set num_beams, to at most {MOST_BEAMS}."
        )
    free = free_memory() if free is None else free
    if free is None:
        return sys.maxsize
    need = _bytes_of_text(config, source, summary, beams)
    fitting = int(free * _SHARE) // need
    if fitting < 1:
        raise BadSetting(
            f"A text of {source:,} tokens with {beams} beams of {summary:,} tokens needs about "
            f"{need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: use fewer beams or a smaller length, "
            "or read the text in pieces (long=chunk)."
        )
    return fitting


def _bytes_of_text(config: Any, source: int, summary: int, beams: int) -> int:
    """What a text takes at most: what the encoder computes with, and what each beam remembers.

    A beam's memory counts twice, as it is copied when beams change places; so do its scores.
    """
    width, layers = config.d_model, config.decoder_layers
    encoder = source * (8 * width + config.encoder_ffn_dim)
    across = 2 * layers * width * source
    beam = 2 * (2 * layers * width * summary + config.vocab_size) + 8 * summary
    return int(_FLOAT * (encoder + across + beams * beam))


def free_memory() -> int | None:
    """Return how many bytes this process can still take, or None where nothing says it."""
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with contextlib.suppress(OSError, ValueError):  # "max" where a group has no limit
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text())
        yield max(0, most - int((group / "memory.current").read_text()))
    if sys.platform != "win32":
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            with contextlib.suppress(OSError, ValueError, IndexError):
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                yield max(0, most - pages * os.sysconf("SC_PAGE_SIZE"))
