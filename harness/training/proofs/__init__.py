"""Proof of training: an engine over whole epochs, against a reference that shares no code with it."""
