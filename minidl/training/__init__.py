"""Training: the loop, its callbacks, checkpoints and run folders."""
