"""Measurements of a training: step times, phases, memory, energy, FLOPs and machine peaks."""
