"""Between a search and a device: asks and answers, the session that turns one into the other, the loop.

A search (``generation/``) asks; ``DecoderSession`` answers, with a ``Decoder`` that some backend supplies.
"""

from pegasus.generation.session.ask import Answer, Ask, Edit, EditKind, Session
from pegasus.generation.session.decoder import Decoder, Reading, Scores, Step
from pegasus.generation.session.decoder_session import DecoderSession
from pegasus.generation.session.host_scores import HostScores, log_softmax
from pegasus.generation.session.recording import Recorded, Records, together
from pegasus.generation.session.run import SearchRun, run_search
from pegasus.generation.session.search import Hypotheses, Search

__all__ = [
    "Answer",
    "Ask",
    "Decoder",
    "DecoderSession",
    "Edit",
    "EditKind",
    "HostScores",
    "Hypotheses",
    "Reading",
    "Recorded",
    "Records",
    "Scores",
    "Search",
    "SearchRun",
    "Session",
    "Step",
    "log_softmax",
    "run_search",
    "together",
]
