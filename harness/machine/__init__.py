"""This computer: its hardware, software, requirements, and what must not leave it."""
