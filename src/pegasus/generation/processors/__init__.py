"""What may not or must be said next: one file a family of logits processors."""
