import pytest

from safeconduct.kernel.errors import VerificationFailed
from safeconduct.storage.shared_replays import SPAN, SharedReplays
from safeconduct.storage.shared_table import SLOTS, SharedTable

NOW = 1_000_000.0


def test_a_proof_used_at_one_worker_is_refused_at_another_and_after_a_restart(tmp_path):
    with (
        SharedTable.open(tmp_path / "t", groups=4) as one,
        SharedTable.open(tmp_path / "t", groups=4) as other,
    ):
        assert SharedReplays(one).first_use(b"k" * 32, NOW)
        assert not SharedReplays(other).first_use(b"k" * 32, NOW)
    with SharedTable.open(tmp_path / "t", groups=4) as again:
        assert not SharedReplays(again).first_use(b"k" * 32, NOW + SPAN - 1)


def test_a_full_memory_refuses_new_proofs_rather_than_forget_old_ones(tmp_path):
    with SharedTable.open(tmp_path / "t", groups=1) as table:
        replays = SharedReplays(table)
        for number in range(SLOTS):
            assert replays.first_use(b"%d" % number, NOW)
        with pytest.raises(VerificationFailed, match="too many") as refused:
            replays.first_use(b"new", NOW)
        assert refused.value.code == "BINDING_MISSING"
        assert not replays.first_use(b"0", NOW)


def test_after_the_machine_went_down_no_proof_is_taken_until_all_earlier_ones_have_expired(tmp_path):
    SharedTable.open(tmp_path / "t", groups=1, boot=b"a" * 16).close()
    up = [SPAN - 20.0]
    with SharedTable.open(tmp_path / "t", groups=1, boot=b"b" * 16) as table:
        replays = SharedReplays(table, lambda: up[0])
        with pytest.raises(VerificationFailed, match="just started"):
            replays.first_use(b"k", NOW)
        up[0] = SPAN + 0.0
        assert replays.first_use(b"k", NOW)
