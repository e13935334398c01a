"""Galleries: what a module has found, to be looked at."""
