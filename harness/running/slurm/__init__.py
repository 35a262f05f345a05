"""The same work as jobs of Slurm."""
