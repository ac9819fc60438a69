"""The record: the events that change authorization state, and State = fold(events).

Owns the envelope of every logged entry and the fold. Holds pseudonyms and commitments, never identity data.
"""
