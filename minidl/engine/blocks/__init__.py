"""Composites: several plain layers in a row, computed as one."""
