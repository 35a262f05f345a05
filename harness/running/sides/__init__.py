"""Two sides that run in turn on one machine, to be compared with each other."""
