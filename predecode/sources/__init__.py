"""Where episodes come from: one module per kind of data set."""
