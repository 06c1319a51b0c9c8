"""The commands, a file each: words in, calls, lines out."""
