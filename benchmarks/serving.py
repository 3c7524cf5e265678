"""How much does a server take, and what does it do when that is too much?

    scripts/bench serving throughput [--clients 1,8,32] [--documents 128] [--rounds 3]
    scripts/bench serving peers --theirs PYTHON [--converted FOLDER]
    scripts/bench serving overload | drain | soak [--seconds N]

`throughput`: documents a second and times of answers, with batches and without. `peers`: the same beside
home-made servers, a model behind FastAPI (`serving_peer.py`), in the same rounds. `overload`: ten times as
much as it can do, for a minute. `drain`: SIGTERM under load. `soak`: ten minutes of ordinary clients beside
bodies of 150 MB, a thousand half-open connections and slow bodies. Clients share the processors.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from contest import processor
from serving_clients import Running, Tally, ask, at_a_pace, client, documents, in_turn, running
from serving_soak import soak

from pegasus.hub import locate

PEER = Path(__file__).with_name("serving_peer.py")
# A search as the bundled checkpoint wants it, and no text in pieces, which peers cannot read.
SETTINGS = {"long": "truncate"}
# CTranslate2 ends a search when as many summaries are finished as there are beams.
OF_PEERS = {**SETTINGS, "early_stopping": True}
# So that on a slow machine nothing is refused for being late.
_PATIENT = ("--deadline", "600")
_WARM_UP = 8
_DRAIN_AFTER = 5.0  # seconds


def ours(options: argparse.Namespace, *more: str) -> list[str]:
    """The command of our server."""
    command = [
        sys.executable,
        "-m",
        "pegasus",
        "serve",
        "--quiet",
        "--threads",
        str(max(1, options.threads // options.workers)),
    ]
    command += ["--dtype", options.dtype, "--model", options.model]
    command += ["--workers", str(options.workers), *more]
    return command


def theirs(options: argparse.Namespace, kind: str, folder: Path) -> list[str]:
    """The command of a home-made one."""
    about = ["--kind", kind, "--folder", str(folder), "--threads", str(options.threads)]
    return [options.theirs, str(PEER), *about]


async def measured(
    server: Running, options: argparse.Namespace, clients: int, seed: int, settings: dict[str, Any]
) -> Tally:
    """One round of one server, after a few documents to warm up."""
    await in_turn(server.url, documents(min(clients, _WARM_UP), seed + 1), clients, settings)
    texts = documents(max(options.documents, 2 * clients), seed)
    before = server.processor_seconds()
    tally = await in_turn(server.url, texts, clients, settings)
    tally.computed = server.processor_seconds() - before
    if tally.statuses != {200: len(texts)}:
        raise SystemExit(f"bench: not every document was answered: {tally.statuses}, {tally.told}")
    return tally


def in_rounds(
    options: argparse.Namespace, commands: dict[str, list[str]], settings: dict[str, Any]
) -> dict[str, Any]:
    """All servers in turn, another one first in each round; ratios are of the same round."""
    found: dict[str, Any] = {}
    for clients in options.clients:
        tallies: dict[str, list[Tally]] = {name: [] for name in commands}
        for number in range(options.rounds):
            names = [*commands]
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                with running(commands[name]) as server:
                    tally = asyncio.run(measured(server, options, clients, 1000 * number, settings))
                tallies[name].append(tally)
                say(clients=clients, round=number + 1, server=name, **tally.figures())
        found[str(clients)] = {
            name: _summed_up(many, next(iter(tallies.values()))) for name, many in tallies.items()
        }
    return found


def _summed_up(many: list[Tally], first: list[Tally]) -> dict[str, Any]:
    paces = [len(tally.seconds) / tally.elapsed for tally in many]
    figures = [tally.figures() for tally in many]
    same = [a.summaries[text] == told for a, b in zip(first, many) for text, told in b.summaries.items()]
    of_rounds = [len(a.seconds) / a.elapsed / pace for a, pace in zip(first, paces)]
    return {
        "documents_per_second": round(statistics.median(paces), 3),
        "p50_s": statistics.median(one["p50_s"] for one in figures),
        "p99_s": statistics.median(one["p99_s"] for one in figures),
        "processor_s": round(statistics.median(one["processor_s"] for one in figures), 4),
        "same_summaries": f"{sum(same)} of {len(same)}",
        "first_is_faster": round(statistics.median(of_rounds), 2),
        "of_rounds": [round(one, 2) for one in of_rounds],
    }


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """With batches and without."""
    commands = {
        "batches": ours(options, *_PATIENT),
        "one by one": ours(options, *_PATIENT, "--batch-size", "1"),
    }
    return in_rounds(options, commands, SETTINGS)


def peers(options: argparse.Namespace) -> dict[str, Any]:
    """Beside a home-made server."""
    commands = {
        "ours": ours(options),
        "transformers": theirs(options, "transformers", locate(options.model)),
    }
    if options.converted is not None:
        commands["ctranslate2"] = theirs(options, "ctranslate2", options.converted)
    commands = {
        name: line for name, line in commands.items() if name in ("ours", *options.beside.split(","))
    }
    return in_rounds(options, commands, OF_PEERS)


def overload(options: argparse.Namespace) -> dict[str, Any]:
    """Ten times what it can do."""
    with running(ours(options)) as server:
        calm = asyncio.run(measured(server, options, options.clients[-1], 0, SETTINGS))
        pace = 10 * len(calm.seconds) / calm.elapsed
        say(calm=calm.figures(), pace=round(pace, 1))
        tally = asyncio.run(at_a_pace(server.url, pace, options.seconds or 60, SETTINGS, documents(256)))
        after = asyncio.run(in_turn(server.url, documents(8), 1, SETTINGS))
    lost = sum(count for status, count in tally.statuses.items() if status not in (200, 429))
    return {
        "requests_per_second": round(pace, 1),
        **tally.figures(),
        "lost": lost,
        "without_retry_after": tally.without_retry_after,
        "told": tally.told,
        "afterwards": after.figures(),
        "exit_code": server.process.returncode,
    }


def drain(options: argparse.Namespace) -> dict[str, Any]:
    """SIGTERM while 32 clients ask."""
    found = []
    for number in range(options.rounds):
        with running(ours(options)) as server:
            found.append(asyncio.run(_drained(server, number)))
            server.process.wait(120)
        found[-1]["exit_code"] = server.process.returncode
        say(**found[-1])
    return {"rounds": found}


async def _drained(server: Running, seed: int) -> dict[str, Any]:
    tally, texts = Tally(), itertools.cycle(documents(256, seed))
    async with client(server.url, keep=False) as asking:

        async def one() -> None:
            while await ask(asking, tally, next(texts), SETTINGS):
                pass

        tasks = [asyncio.ensure_future(one()) for _ in range(32)]
        await asyncio.sleep(_DRAIN_AFTER)
        before, told = tally.statuses[200], time.perf_counter()
        server.tell_to_end()
        await asyncio.gather(*tasks)
    after = tally.statuses[200] - before
    refused = tally.statuses[503] + tally.statuses["no connection"]
    return {
        "answered_before": before,
        "answered_after": after,
        # Each client had a request under way, whose answer may be 503 too.
        "lost": max(0, len(tasks) - after),
        "refused": refused,
        "failed": sum(tally.statuses.values()) - tally.statuses[200] - refused,
        "without_retry_after": tally.without_retry_after,
        "seconds_to_end": round(time.perf_counter() - told, 2),
    }


def soaked(options: argparse.Namespace) -> dict[str, Any]:
    """Ten minutes of everything at once."""
    with running(ours(options)) as server:
        found = asyncio.run(soak(server, options.seconds or 600, options.every, say))
    return {**found, "exit_code": server.process.returncode}


QUESTIONS = {"throughput": throughput, "peers": peers, "overload": overload, "drain": drain, "soak": soaked}


def say(**figures: Any) -> None:
    """What is seen on the way."""
    print(json.dumps(figures), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--model", default="pegasus-mini")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--workers", type=int, default=1, help="engines of our server, which share --threads"
    )
    parser.add_argument("--clients", type=lambda text: [*map(int, text.split(","))], default=[1, 8, 32])
    parser.add_argument("--documents", type=int, default=128, help="in a round; at least two a client")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="of overload (60) and soak (600)")
    parser.add_argument(
        "--every", type=float, default=0.0, help="seconds between a client's requests, soak"
    )
    parser.add_argument("--theirs", default=os.environ.get("PEGASUS_PEER_PYTHON", sys.executable))
    parser.add_argument("--converted", type=Path, help="what CTranslate2's converter made of the model")
    parser.add_argument("--beside", default="transformers,ctranslate2", help="which peers")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    begin = os.getloadavg()[0]
    found = QUESTIONS[options.question](options)
    about = {
        "processor": processor(),
        "threads": options.threads,
        "load": [round(begin, 2), round(os.getloadavg()[0], 2)],
    }
    print(json.dumps({"question": options.question, **about, "found": found}, indent=1))


if __name__ == "__main__":
    main()
