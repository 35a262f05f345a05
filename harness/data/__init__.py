"""Read and check a data set's files without torch or datasets.

Plan, preflight and worker share one reader, so trials train on exactly the rows that were checked.
"""
