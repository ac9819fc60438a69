"""The wrapped data key of each subject."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "subject_keys_0001"
down_revision = None
branch_labels = ("subject_keys",)
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "subject_keys",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=True),
    )


def downgrade() -> None:
    """Drop it: everything sealed becomes unreadable."""
    op.drop_table("subject_keys")
