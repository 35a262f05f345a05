"""The heavy half, the only importer of torch, transformers, datasets and evaluate."""
