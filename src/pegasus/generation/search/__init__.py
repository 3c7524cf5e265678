"""How the next tokens are chosen: one file a strategy, and what they share."""
