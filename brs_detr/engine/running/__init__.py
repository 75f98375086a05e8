"""What a run adds to mmengine's: whole checkpoints, continuation bit by bit, signals, processes, fine-tuning."""
