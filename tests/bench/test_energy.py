from pathlib import Path

import pytest

from edgekd.bench import energy
from edgekd.bench.energy import EnergyMeter, packages
from edgekd.errors import MeasurementError

RANGE = 262_143_328_850


def zone(powercap: Path, name: str, kind: str, energy_uj: int) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(kind + "\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return folder


def test_packages_alone_are_counted(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    assert packages(tmp_path) == [first, second]
    meter = EnergyMeter(tmp_path)
    (first / "energy_uj").write_text("3500000\n")
    (second / "energy_uj").write_text("7250000\n")
    assert meter.joules() == 2.75


def test_a_counter_may_start_again(tmp_path):
    package = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    meter = EnergyMeter(tmp_path)
    (package / "energy_uj").write_text("999999\n")
    assert meter.joules() == 2.0
    (package / "energy_uj").write_text("1999999\n")
    assert meter.joules() == 3.0


def test_the_reason_for_no_figure(tmp_path):
    with pytest.raises(MeasurementError, match="no energy counter .* bare x86 Linux"):
        EnergyMeter(tmp_path / "absent")
    package = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    (package / "energy_uj").write_text("")
    with pytest.raises(MeasurementError, match=r"energy_uj does not hold a number"):
        EnergyMeter(tmp_path)


def test_a_counter_that_only_root_reads(tmp_path, monkeypatch):
    zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def refuse(package: Path) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(energy.Path, "read_text", lambda path: "package-0" if path.name == "name" else refuse(path))
    with pytest.raises(MeasurementError, match="sudo chmod a"):
        EnergyMeter(tmp_path)
