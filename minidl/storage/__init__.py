"""Files: weights, locks, and checks of everything that is read back."""
