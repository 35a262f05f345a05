"""Write the files of the documentation that are derived from the code: `python -m tools.reference`."""
