"""Which trial runs where and when, in processes of their own."""
