"""Summaries over HTTP: one thread that owns the model, and an application in front of it."""
