"""One builder for each kind of result: what it found, as a Document."""
