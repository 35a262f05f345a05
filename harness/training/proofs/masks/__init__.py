"""Proof of dropout: the masks that a training draws, at every site and in every pass."""
