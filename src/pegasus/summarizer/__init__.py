"""Text in, summary out: batches in between, long documents, and checks of what was written."""

from __future__ import annotations

from pegasus.summarizer.records import Chunk, Explanation, Summary, Support
from pegasus.summarizer.settings import Settings
from pegasus.summarizer.summarizer import Summarizer

__all__ = ["Chunk", "Explanation", "Settings", "Summarizer", "Summary", "Support"]
