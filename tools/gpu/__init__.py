"""All that needs an NVIDIA GPU, in one command: `make gpu`, or `python -m tools.gpu --help`."""
