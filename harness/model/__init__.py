"""The nouns: frozen pydantic models without any input or output."""
