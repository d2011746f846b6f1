"""Files: weights, locks, and checks of all that is read back."""
