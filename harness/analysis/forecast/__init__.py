"""Estimates of what a plan will take, from earlier results."""
