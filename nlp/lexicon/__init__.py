"""The lexicon of section headings: which phrase names which category of section."""
