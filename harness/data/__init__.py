"""Reading and checking a data set's files without torch or datasets.

The plan, the preflight and the worker use the same reader: what was checked is what a trial trains on.
"""
