"""Ordinary text cut into pieces, and where each piece stood."""
