"""Programs that develop the project and are no part of the package."""
