"""The writing side: decode a video data set once into WebDataset shards."""
