"""Commands that take reports or runs: one file each."""
