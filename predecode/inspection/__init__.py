"""What is in an output: as figures, sample by sample, and as a page."""
