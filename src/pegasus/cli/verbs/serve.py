"""Serve summaries over HTTP: our own form, OpenAI's and Hugging Face's, on one port.

It listens on this machine alone unless --host says otherwise; beyond it, keys are needed: a file of them,
or the variable PEGASUS_API_KEYS. /healthz answers from the start, /readyz when the model is there. A signal
(SIGTERM, Ctrl-C) ends it when everything is finished that was taken; a second one ends it at once.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from pegasus.cli.exits import OK
from pegasus.cli.model_options import (
    check_backend,
    check_threads,
    declare_backend,
    declare_batch_size,
    declare_device,
    declare_dtype,
    declare_name,
    declare_threads,
)

if TYPE_CHECKING:
    from pegasus.serving.options import ServeOptions

_EXAMPLES = """\
examples:
  pegasus serve
  pegasus serve --model google/pegasus-xsum --port 9000
  pegasus serve --dtype int8 --workers 8
  pegasus serve --host 0.0.0.0 --api-keys keys.txt
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    _declare_place(parser.add_argument_group("where and for whom"))
    _declare_limits(parser.add_argument_group("limits"))
    group = parser.add_argument_group("the model")
    declare_name(group)
    for declare_one in (
        declare_backend,
        declare_device,
        declare_dtype,
        declare_batch_size,
        declare_threads,
    ):
        declare_one(group)
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="engines side by side, each a process with its own model and --threads, by default its share "
        "of the cores (default: 1, within the server's process)",
    )


def _declare_place(group: Any) -> None:
    group.add_argument("--host", default="127.0.0.1", help="the address (default: 127.0.0.1)")
    group.add_argument("--port", type=int, default=8000, metavar="N", help="0: any (default: 8000)")
    group.add_argument("--api-keys", metavar="FILE", help="a file of bearer keys, one a line")
    group.add_argument(
        "--public", action="store_true", help="listen beyond this machine although there is no key"
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this name too (header Host); may be given again",
    )
    group.add_argument("--served-name", metavar="NAME", help="what clients call the model")
    group.add_argument(
        "--log", choices=["json", "text"], default="json", help="lines on stderr (default: json)"
    )


def _declare_limits(group: Any) -> None:
    def number(name: str, default: float, told: str) -> None:
        kind = type(default)
        group.add_argument(
            name, type=kind, default=default, metavar="N", help=f"{told} (default: {default:g})"
        )

    number("--max-body-mb", 2.0, "the longest body, in millions of bytes")
    number("--max-documents", 64, "documents in a request")
    number("--max-beams", 8, "beams of a search")
    group.add_argument(
        "--max-summary-tokens",
        type=int,
        metavar="N",
        help="new tokens that may be asked for (default: as many as the model has positions)",
    )
    number("--max-extend-tokens", 4096, "tokens that long=extend may read at once")
    number("--max-queue", 256, "texts on their way at once; more are refused with 429")
    number("--deadline", 60.0, "seconds from a request to its answer, then 504")
    number("--request-timeout", 10.0, "seconds for a request to arrive, then 408")
    group.add_argument(
        "--drain-timeout",
        type=float,
        metavar="N",
        help="seconds to finish what was taken, after a signal (default: as long as --deadline)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes, and return the exit code."""
    _require_packages()
    from pegasus.serving.interleaving import Sharing
    from pegasus.serving.logs import same_log
    from pegasus.serving.server import serve
    from pegasus.summarizer import Summarizer
    from pegasus.summarizer.settings import Settings

    check_backend(arguments.backend)
    check_threads(arguments.threads)
    _check_workers(arguments.workers)
    Settings(batch_size=arguments.batch_size)
    options = _options(arguments)
    _set_up_log(arguments)
    open_summarizer = partial(
        Summarizer.from_pretrained,
        arguments.model,
        backend=arguments.backend,
        device=arguments.device,
        dtype=arguments.dtype,
        threads=_threads_each(arguments.threads, arguments.workers),
    )
    serve(open_summarizer, options, Sharing(batch_size=arguments.batch_size), same_log(arguments.log))
    return OK


def _check_workers(count: int) -> None:
    from pegasus.backends.threads import threads_for

    threads_for(count, "--workers")


def _threads_each(asked: int | None, workers: int) -> int | None:
    """The threads of each engine: where nobody says, those of the machine are shared by all."""
    from pegasus.backends.threads import usual_threads

    return max(1, usual_threads() // workers) if asked is None and workers > 1 else asked


def _options(arguments: argparse.Namespace) -> ServeOptions:
    from pegasus.serving.options import ServeOptions, read_keys

    return ServeOptions(
        host=arguments.host,
        port=arguments.port,
        keys=read_keys(arguments.api_keys),
        hosts=tuple(arguments.allow_host),
        public=arguments.public,
        name=arguments.served_name,
        most_body=int(arguments.max_body_mb * 1_000_000),
        most_documents=arguments.max_documents,
        most_beams=arguments.max_beams,
        most_summary=arguments.max_summary_tokens,
        most_extend=arguments.max_extend_tokens,
        most_texts=arguments.max_queue,
        workers=arguments.workers,
        deadline=arguments.deadline,
        request_seconds=arguments.request_timeout,
        drain_seconds=arguments.drain_timeout,
    )


def _set_up_log(arguments: argparse.Namespace) -> None:
    import logging

    from pegasus.serving.logs import set_form

    set_form(arguments.log)
    if not (arguments.quiet or arguments.debug):
        logging.getLogger("pegasus").setLevel(logging.INFO)


def _require_packages() -> None:
    import importlib.util

    from pegasus.errors import BackendMissing

    for package in ("fastapi", "uvicorn", "prometheus_client", "pydantic"):
        if importlib.util.find_spec(package) is None:
            raise BackendMissing(
                f"Serving needs {package}, which is not installed: pip install 'pegasus-summarizer[serve]'"
            )
