"""Interfaces that a change of structure must leave byte for byte as they are."""
