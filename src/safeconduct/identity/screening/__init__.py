"""Screening: who is on a list. Lists' entries, how they are read, found and scored; files and clocks belong elsewhere."""
