"""The engines that train: transformers' Trainer, and a lean loop."""
