"""Gates: the rules that a report must pass."""
