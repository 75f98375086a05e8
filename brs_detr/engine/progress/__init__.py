"""What a run says: the console, the log, curves, metrics and their tables."""
