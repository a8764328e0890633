"""Labelled examples from notes: labels come from headings, from codes, or from an annotation file."""
