"""Commands that take a suite: one file each."""
