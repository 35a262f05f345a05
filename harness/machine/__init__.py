"""This computer: its hardware, software and requirements, and redaction of its secrets."""
