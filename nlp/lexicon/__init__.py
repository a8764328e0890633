"""The lexicon of section headings: which phrases name which category of section."""
