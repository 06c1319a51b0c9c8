"""Frame tables of video files and exact decoding; the only place that imports av to read."""
