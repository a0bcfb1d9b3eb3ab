import pytest

from edgekd.errors import StorageError
from edgekd.runtimes.tensorrt.adapter import errors_of
from edgekd.runtimes.tensorrt.builder import read_timings, write_timings

# TensorRT for RTX has the calls and times nothing, so this shows the files and not what is in them.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


@pytest.fixture
def config(rtx):
    builder = rtx.Builder(errors_of(rtx))
    return builder.create_builder_config()


def test_timings_are_written_and_read(config, tmp_path):
    path = tmp_path / "kept" / "timings"
    read_timings(config, path)
    assert not path.exists()
    write_timings(config, path)
    first = path.read_bytes()
    read_timings(config, path)
    write_timings(config, path)
    assert path.read_bytes() == first != b""


def test_a_folder_is_no_timing_cache(config, tmp_path):
    with pytest.raises(StorageError, match="name another timing cache"):
        read_timings(config, tmp_path)
