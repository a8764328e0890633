"""Words of clinical notes: what a word is, accents, abbreviations."""
