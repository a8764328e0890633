"""Sentences of a note: hard-wrapped prose is joined, list items and lines stay separate."""
