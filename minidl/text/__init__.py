"""Output that people read: lines on the screen, progress, tables."""
