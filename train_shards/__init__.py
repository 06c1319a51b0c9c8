"""The reading side: shards to training items, without a video decoder."""
