from safeconduct.storage.position_page import Position, PositionPage

ROOT = bytes(range(32))


def test_readers_see_the_newest_position_and_none_before_the_first(tmp_path):
    writer, reader = PositionPage(tmp_path / "p"), PositionPage(tmp_path / "p")
    assert reader.read() is None
    for number in range(1, 6):
        writer.write(Position(number, ROOT, 10.5 + number, 1_800_000_000.25))
        assert reader.read() == Position(number, ROOT, 10.5 + number, 1_800_000_000.25)
    writer.close()
    again = PositionPage(tmp_path / "p")
    again.write(Position(9, ROOT, 20.0, 1.0))
    assert reader.read().size == 9


def test_a_writer_killed_in_the_middle_leaves_the_older_position(tmp_path):
    page = PositionPage(tmp_path / "p")
    page.write(Position(1, ROOT, 1.0, 1.0))
    page.write(Position(2, ROOT, 2.0, 2.0))
    with (tmp_path / "p").open("r+b") as file:
        file.seek(30)  # the second write went into the first slot
        file.write(b"\xff")
    assert PositionPage(tmp_path / "p").read().size == 1


def test_a_position_of_an_earlier_start_of_the_machine_says_nothing(tmp_path):
    page = PositionPage(tmp_path / "p", boot=b"a" * 16)
    page.write(Position(1, ROOT, 1.0, 1.0))
    assert PositionPage(tmp_path / "p", boot=b"b" * 16).read() is None
