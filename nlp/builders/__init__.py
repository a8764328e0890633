"""Labelled examples from notes: by their headed sections, by their codes, or by an annotation file."""
