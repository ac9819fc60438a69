"""What processes publish of themselves: whole or not at all, for nobody else's eyes, and forgotten when the node begins anew."""

import stat

import pytest

from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.storage.measure_files import MeasureFiles, Published


def published(failed=0):
    measures = GatewayMeasures()
    measures.failed_authentications = failed
    return Published(at=5.0, counts=measures.snapshot(), gauges={"safeconduct_ready": 1.0})


def test_what_was_written_last_is_read_by_name(tmp_path):
    files = MeasureFiles(tmp_path / "metrics")
    assert files.all() == {}
    assert files.read("worker-1") is None
    for failed in range(3):
        files.write("worker-1", published(failed))
    files.write("edge.1", published(7))
    assert files.read("worker-1") == published(2)
    assert files.all() == {"edge.1": published(7), "worker-1": published(2)}
    for path in (tmp_path / "metrics").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"at": 1}', b"\xff\xfe"])
def test_what_cannot_be_read_is_left_out(tmp_path, content):
    files = MeasureFiles(tmp_path)
    files.write("good", published(1))
    (tmp_path / "bad.json").write_bytes(content)
    assert files.all() == {"good": published(1)}


def test_a_node_that_begins_forgets_all_and_what_was_half_written_too(tmp_path):
    files = MeasureFiles(tmp_path)
    files.write("worker-1", published())
    (tmp_path / "worker-2.json.tmp").write_bytes(b"{")
    files.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_next_file_is_not_followed(tmp_path):
    aim = tmp_path / "aim"
    aim.write_bytes(b"kept")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "worker-1.json.tmp").symlink_to(aim)
    MeasureFiles(tmp_path / "metrics").write("worker-1", published())
    assert aim.read_bytes() == b"kept"
