"""Jobs of the agent on a device with TensorRT; see ``test_remote`` for the way there."""

from edgekd.runtimes.tensorrt.on_device import keep


def test_an_engine_that_is_kept_is_whole_after_a_power_cut(disk_to_cut, tmp_path):
    made, kept = tmp_path / "made", disk_to_cut.folder / "cache" / "0123.engine"
    made.write_bytes(b"engine" * 1000)
    keep(made, kept)
    disk_to_cut.cut()
    assert kept.read_bytes() == made.read_bytes()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
