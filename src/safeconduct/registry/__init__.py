"""What is reached: providers, models, variants, deployments, findings and how far a variant is released.

Rules only. The events that record them, and the state they make, are the record's.
"""
