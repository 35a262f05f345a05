"""What works with no network: a small corpus and small checkpoints of our own; and finding the real ones."""
