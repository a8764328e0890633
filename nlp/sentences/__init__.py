"""Sentences of a note: wrapped prose is joined, list items and lines are kept apart."""
