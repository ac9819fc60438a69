"""Offline proof: decisions run again, and told in words. Reads what was logged; asks no server and changes nothing."""
