"""Whose stored answers are whose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0001"
down_revision = None
branch_labels = ("responses",)
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "stored_responses",
        sa.Column("response", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("variant", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("created", sa.Integer, nullable=False),
    )
    op.create_index("stored_responses_by_created", "stored_responses", ["created"])


def downgrade() -> None:
    """Drop it: stored answers can no longer be fetched."""
    op.drop_table("stored_responses")
