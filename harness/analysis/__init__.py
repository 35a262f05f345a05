"""Pure functions on reports: statistics, parity verdicts, comparison, gates."""
