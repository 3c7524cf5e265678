"""What a server is told: where it listens, who may ask, and the limits of everything that is sent."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pegasus.errors import BadSetting

#: Bearer keys, separated by commas or white space.
KEYS_VARIABLE = "PEGASUS_API_KEYS"
_SHORTEST_KEY = 16
_COUNTS = ("most_body", "most_head", "most_documents", "most_beams", "most_extend", "most_texts", "workers")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class Keys:
    """Bearer keys, of which only digests are kept.

    Attributes:
        digests: SHA-256 of each; none: everybody may ask.
    """

    digests: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, keys: list[str]) -> Keys:
        """Take keys as they are written.

        Raises:
            BadSetting: one is so short that it can be guessed, or cannot be sent in a header.
        """
        for key in keys:
            if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable():
                raise BadSetting(
                    f"A key must be at least {_SHORTEST_KEY} visible ASCII characters; one has {len(key)}: "
                    "`openssl rand -hex 32` makes a good one."
                )
        return cls(tuple(hashlib.sha256(key.encode()).digest() for key in keys))

    def admit(self, authorization: str) -> bool:
        """Whether a header `Authorization` holds one of them; as slow for wrong keys as for right ones."""
        scheme, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode("utf-8", "replace")).digest()
        found = [hmac.compare_digest(digest, known) for known in self.digests]
        return any(found) and scheme.lower() == "bearer"


def read_keys(file: str | None, environment: Mapping[str, str] = os.environ) -> Keys:
    """Read the keys of a file, one a line, and of the environment.

    Raises:
        BadSetting: the file cannot be read or holds none, or a key is bad.
    """
    keys = environment.get(KEYS_VARIABLE, "").replace(",", " ").split()
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"The keys cannot be read from {file}: {error}.") from error
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise BadSetting(f"{file} holds no key: write one a line.")
        keys += found
    return Keys.of(keys)


@dataclass(frozen=True)
class ServeOptions:
    """How a server behaves; sizes in bytes, times in seconds.

    Attributes:
        host: the address it listens on.
        port: and the port; 0 takes a free one.
        keys: who may ask.
        hosts: further names by which clients may call it, beside `host` and those of this machine.
        public: whether it may listen beyond this machine without keys.
        name: what the model is called; None: its own name.
        most_body: the longest body.
        most_head: the longest head of a request.
        most_documents: documents in a request.
        most_beams: beams of a search.
        most_summary: new tokens that may be asked for; None: as many as the model has positions.
        most_extend: tokens that `long=extend` may read at once.
        most_texts: texts on their way at once, those under way included.
        workers: how many engines compute side by side, each with its own model; one is a thread of the
            server's process, several are processes.
        deadline: from a request to its answer.
        request_seconds: for a request to arrive, body and all.
        idle_seconds: between two requests of a connection.
        drain_seconds: to finish what was taken, when it is told to end; None: as long as the deadline, so
            that nothing that was taken is lost.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Keys = Keys()
    hosts: tuple[str, ...] = ()
    public: bool = False
    name: str | None = None
    most_body: int = 2_000_000
    most_head: int = 32_768
    most_documents: int = 64
    most_beams: int = 8
    most_summary: int | None = None
    most_extend: int = 4096
    most_texts: int = 256
    workers: int = 1
    deadline: float = 60.0
    request_seconds: float = 10.0
    idle_seconds: float = 15.0
    drain_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise BadSetting(f"{name} must be at least 1; found {getattr(self, name)}.")
        for name in ("deadline", "request_seconds", "idle_seconds", "drain_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < float("inf"):
                raise BadSetting(f"{name} must be a number of seconds above 0; found {seconds}.")
        if not 0 <= self.port < 65_536:
            raise BadSetting(f"port must be from 0 to 65,535; found {self.port}.")
        if not (self.keys.digests or self.public or is_loopback(self.host)):
            raise BadSetting(
                f"{self.host} can be reached from other machines, and there is no key: name a file of keys "
                f"(--api-keys FILE) or set {KEYS_VARIABLE}; --public serves everybody."
            )

    @property
    def draining(self) -> float:
        """Seconds that what was taken has, when the server is told to end."""
        return self.deadline if self.drain_seconds is None else self.drain_seconds

    def calls_us(self, host: str) -> bool:
        """Whether a header `Host` names this server: a page that a browser was lured to does not.

        Args:
            host: the header, with or without a port.
        """
        name = host.lower() if host.endswith("]") else host.lower().rpartition(":")[0] or host.lower()
        if name in {self.host.lower(), f"[{self.host.lower()}]", *map(str.lower, self.hosts)}:
            return True
        # Who listens on every address cannot know its names; then there are keys, or everybody may ask.
        return (not is_loopback(self.host) and not self.hosts) or name in _LOCAL_NAMES


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
