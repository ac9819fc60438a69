"""Identity documents: what they say and what proves that they are genuine. Refuses to say who somebody is."""
