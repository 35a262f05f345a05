"""Statistics: tests, resampling, variance components and scores."""
