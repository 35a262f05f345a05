"""Read a suite's YAML file and expand it to trials, without access to network, devices or environment."""
