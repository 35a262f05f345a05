"""Metrics as modules that `evaluate` loads from an absolute path, so that scoring needs no Hub."""
