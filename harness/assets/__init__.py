"""Find checkpoints and data sets, locally or on the Hub, and the embedded ones that need no network."""
