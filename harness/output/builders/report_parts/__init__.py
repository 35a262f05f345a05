"""Parts of the document of a report: its answer, cells, charts, notes and remarks."""
