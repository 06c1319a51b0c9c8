"""A data set before any decoding: is every file there, whole, and of its own episode?"""
