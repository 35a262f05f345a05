"""Processes that a command starts for work of the heavy half: a request on standard input, then an answer."""
