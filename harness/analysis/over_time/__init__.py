"""Results over time: series, earlier trials of compared variants, and the noise of a machine."""
