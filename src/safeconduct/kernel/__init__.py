"""What every other package stands on: errors, ids, vocabulary, clock, canonical bytes, keys.

Owns no rule of the domain and imports nothing above itself.
"""
