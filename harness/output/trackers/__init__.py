"""Trackers: finished trials as runs of an experiment tracker, a file each; none needs a network."""
