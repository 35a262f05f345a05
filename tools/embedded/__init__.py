"""Build the embedded corpus and checkpoints."""
