"""Text ↔ numbers."""
