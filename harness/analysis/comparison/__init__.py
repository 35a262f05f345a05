"""Comparison of reports, or of the variants of one."""
