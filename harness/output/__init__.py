"""One file a format; every text from outside passes `safe_text` first."""
