"""The plain text of a note: RTF, HTML, C-CDA, HL7 v2 and JSON escapes, dictation commands and quoted mail are read."""
