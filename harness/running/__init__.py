"""Run the trials of a suite: which trial runs where and when."""
