"""Checks of stored results: contradicting numbers, other inputs, and settings that were not followed."""
