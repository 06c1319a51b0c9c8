"""Pages for people: one HTML text that needs no other file, its style, charts and words."""
