"""Output that people read: lines on the screen, progress, tables of aligned columns and of HTML.

Internal: its names may change.
"""
