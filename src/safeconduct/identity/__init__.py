"""Who somebody is: evidence, what was done with it, and the assurance computed from that.

Owns the values of an evidence import and the tables that turn them into IAL, AAL, FAL and a clearance level.
Refuses to take any of those from outside: nothing here has a field in which they could be written.
"""
