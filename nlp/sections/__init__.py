"""Sections of a note: headings with their category, and the body under each heading."""
