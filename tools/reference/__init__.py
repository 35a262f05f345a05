"""Write the reference pages that are derived from declarations: `python -m tools.reference.axes`."""
