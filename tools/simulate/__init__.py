"""Simulated reports with known truth, to measure the error rates of verdicts and gates."""
