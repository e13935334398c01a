"""Evaluations: each judges the data sets of one kind, by one capability of a module."""
