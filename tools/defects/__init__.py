"""Planted defects of training code, and how many of them the proofs catch."""
