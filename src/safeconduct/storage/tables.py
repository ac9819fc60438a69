"""The tables of the embedded store. Migrations create them; nothing else issues DDL.

Three databases: `vault.db` holds encrypted documents; `subject-keys.db` lies beside the record's log and holds the wrapped
data key of each subject, so that the log directories and the root key are all that a replay needs; `responses.db` says whose
the answers are that providers keep.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Index("documents_by_subject", "subject"),
)

subject_keys = sa.Table(
    "subject_keys",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    # NULL: the key was destroyed. The row stays so that the subject cannot be given a new key by accident.
    sa.Column("wrapped", sa.LargeBinary, nullable=True),
)

stored_responses = sa.Table(
    "stored_responses",
    metadata,
    sa.Column("response", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("created", sa.Integer, nullable=False),
    sa.Index("stored_responses_by_created", "created"),
)
