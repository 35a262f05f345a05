"""Tokenization: the arrays that training reads, and trials that only measure it."""
