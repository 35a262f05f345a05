"""Changes of the forward pass that variants ask for, one file each."""
