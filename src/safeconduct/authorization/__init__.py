"""What is granted and what is ordered: grants, projects, clearances, licences, directives, and who is trusted to sign them.

Rules and documents only. The events that record them, and the state they make, are the record's.
"""
