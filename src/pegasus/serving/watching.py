"""What is counted of a server, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

import pegasus
from pegasus.serving.failures import kind_of
from pegasus.serving.orders import Event
from pegasus.summarizer import Summary

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Watcher:
    """Counts requests, texts, batches and tokens; every label has few values."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        known: Any = {"registry": self.registry}
        self._requests = Counter(
            "pegasus_requests", "Requests answered, by route and status.", ["route", "status"], **known
        )
        self._latency = Histogram(
            "pegasus_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            **known,
        )
        self._queue = Histogram(
            "pegasus_queue_seconds", "Until the first batch of a text.", buckets=_SECONDS, **known
        )
        self._texts = Gauge("pegasus_texts", "Texts taken that have not ended.", **known)
        self._computed = Gauge("pegasus_texts_computed", "Jobs in the batches under way.", **known)
        self._batches = Histogram(
            "pegasus_batch_jobs", "Jobs in a batch when it begins.", buckets=_SIZES, **known
        )
        self._steps = Counter("pegasus_steps", "Steps of searches computed.", **known)
        self._ended = Counter("pegasus_ended", "Texts that ended, and how.", ["end"], **known)
        self._read = Counter("pegasus_input_tokens", "Tokens of texts that were read.", **known)
        self._written = Counter("pegasus_summary_tokens", "Tokens of summaries written.", **known)
        self._refused = Counter("pegasus_refused", "Texts not taken, and why.", ["why"], **known)
        self._engines = Gauge("pegasus_engines", "Engines that take texts.", **known)
        self._restarts = Counter(
            "pegasus_engine_restarts", "Engine processes started in the place of one that died.", **known
        )
        build = Gauge("pegasus_build_info", "The version that runs.", ["version"], **known)
        build.labels(pegasus.__version__).set(1)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered.

        Args:
            route: the pattern of its path, or "other".
            status: of the answer.
            seconds: how long it took.
        """
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def refused(self, why: str, texts: int) -> None:
        """So many texts were not taken: "full", "late", or the state that the room is in."""
        self._refused.labels(why).inc(texts)

    def began(self, seconds: float) -> None:
        """A text's first batch begins, so long after it was taken."""
        self._queue.observe(seconds)

    def standing(self, texts: int) -> None:
        """How many texts were taken and have not ended."""
        self._texts.set(texts)

    def computing(self, jobs: int) -> None:
        """How many jobs are in the batches under way."""
        self._computed.set(jobs)

    def batch(self, jobs: int) -> None:
        """A batch begins."""
        self._batches.observe(jobs)

    def stepped(self, steps: int = 1) -> None:
        """Steps of searches were computed."""
        self._steps.inc(steps)

    def engines(self, count: int) -> None:
        """So many engines take texts."""
        self._engines.set(count)

    def restarted(self) -> None:
        """An engine process is started in the place of one that died."""
        self._restarts.inc()

    def left(self) -> None:
        """Somebody did not wait for a text to end."""
        self._ended.labels("left").inc()

    def ended(self, event: Event) -> None:
        """A text has ended."""
        end = kind_of(event) if isinstance(event, Exception) else "summary"
        self._ended.labels(end).inc()
        if isinstance(event, Summary):
            self._read.inc(event.used_tokens)
            self._written.inc(event.summary_tokens)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text form."""
        return generate_latest(self.registry)
