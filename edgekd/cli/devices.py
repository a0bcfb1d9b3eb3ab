"""``edgekd devices``: register devices, list them, remove them, probe them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli.output import tell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekd.devices.registry import Device

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Register the devices that models must run on, and probe them.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The device's name in the registry.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def add(
    name: Name,
    ssh: Annotated[str, typer.Option(metavar="[USER@]HOST[:PORT]", help="Its address, or an alias of ~/.ssh/config.")],
    python: Annotated[str, typer.Option(help="Python on the device, 3.8 or newer.")] = "python3",
    power_mode: Annotated[
        str | None, typer.Option(help="The nvpmodel mode to measure in; it is checked, not set.")
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A configuration for ssh instead of ~/.ssh/config.")
    ] = None,
    emulated: Annotated[
        bool,
        typer.Option("--emulated", help="No real hardware: its predictions count, its times are marked as invalid."),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the device of this name.")] = False,
) -> None:
    """Register a device with an SSH server; keys and jump hosts are those of your own SSH configuration."""
    from edgekd.devices.registry import Device, add_device

    config = str(ssh_config.expanduser().resolve()) if ssh_config else None
    add_device(Device(name, ssh, python, power_mode, config, emulated), replace)
    tell(f"added {name}: {ssh}; 'edgekd devices probe {name}' asks it what it can run")


@app.command()
def remove(name: Name) -> None:
    """Remove a device from the registry. Nothing is changed on the device itself."""
    from edgekd.devices.registry import remove_device

    remove_device(name)
    tell(f"removed {name}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the registered devices and their addresses."""
    from edgekd.devices.registry import devices

    known = devices()
    if as_json:
        typer.echo(json.dumps([to_json(device) for device in known.values()], indent=1))
        return
    width = max(map(len, known))
    for device in known.values():
        tell(f"{device.name:{width}}  {device.ssh or 'this machine'}")


def to_json(device: "Device") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        key: value
        for key, value in asdict(device).items()
        if value not in (None, False) and (device.ssh or key == "name")
    }


@app.command()
def layers(
    name: Name,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    batch: Annotated[int, typer.Option(min=1, help="Images in one inference, where the file leaves it open.")] = 1,
    seconds: Annotated[int, typer.Option(min=1, help="How long the layers are timed.")] = 3,
    top: Annotated[int, typer.Option(min=1, help="Layers to show, those that take the most.")] = 15,
    as_json: AsJson = False,
) -> None:
    """Time each layer of a TensorRT engine on a device, with the types of its inputs and outputs."""
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.devices.registry import find_device
    from edgekd.devices.remote import Remote
    from edgekd.runtimes.tensorrt.remote.layers import describe, engine_layers

    device = find_device(name)
    leave_on_signal()
    with Remote(device) as remote:
        found = engine_layers(remote, model, batch, seconds)
    show(found.to_json(), describe(found, top), as_json)


@app.command()
def dla(
    name: Name,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    core: Annotated[int, typer.Option(min=0, max=1, help="The number of the DLA core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Build an engine for a Jetson's DLA, and list the layers that it takes and those that fall back to the GPU."""
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.devices.registry import find_device
    from edgekd.devices.remote import Remote
    from edgekd.runtimes.tensorrt.remote.dla import dla_report
    from edgekd.runtimes.tensorrt.trtexec.dla import describe

    device = find_device(name)
    leave_on_signal()
    with Remote(device) as remote:
        found = dla_report(remote, model, core)
    show(found.to_json(), describe(found), as_json)


@app.command()
def probe(name: Name, as_json: AsJson = False) -> None:
    """Ask a device for its hardware, what it can run, and what is missing. Nothing is left on it."""
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.devices.local import probe_local
    from edgekd.devices.probe import describe
    from edgekd.devices.probe import probe as ask
    from edgekd.devices.registry import find_device

    device = find_device(name)
    leave_on_signal()
    found = ask(device) if device.ssh else probe_local(device)
    show(found.to_json(), describe(found), as_json)


def show(document: object, words: "Iterable[str]", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document, indent=1))
    else:
        tell("\n".join(words))
