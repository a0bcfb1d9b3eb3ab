#!/usr/bin/env bash
# The Dockerfile built where no image can be pulled: by buildah, on a base made by debootstrap.
#
#   tests/container/build.sh BUNDLE     as root, with Debian's buildah and debootstrap
#
# In the image it then runs edgekd's help, verifies BUNDLE, times its network and loads a recipe's data and networks.
# This machine's pip downloads the wheels, as it is configured; pip in the build sees them at /mnt and nothing else.
# EDGEKD_MIRROR is another mirror of Debian, TORCH_INDEX another index of torch; empty, torch is PyPI's, with CUDA, and
# takes 25 GB of disk.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
work=${EDGEKD_CONTAINER:-$here/build/container}
mirror=${EDGEKD_MIRROR:-http://deb.debian.org/debian}
torch_index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
wheels=$work/wheels/$(basename "${torch_index:-pypi}")
suite=$(sed -n 's/^ARG BASE=debian:\([a-z]*\).*/\1/p' "$here/Dockerfile")
machine=(--python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none --only-binary=:all:)
for glibc in 2014 $(seq --format=_2_%g 36 -1 18); do
    machine+=(--platform "manylinux${glibc}_$(uname -m)")
done

die() {
    echo "error: $*" >&2
    exit 1
}

# Overlay and user namespaces are often missing where no image can be pulled; vfs and chroot work everywhere.
buildah() {
    command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

needs() {
    [ "$(id -u)" = 0 ] || die "a container is built by root: debootstrap makes device files and changes roots"
    for tool in debootstrap buildah; do
        command -v "$tool" >/dev/null || die "$tool is missing: install Debian's buildah, debootstrap"
    done
    [ -n "$suite" ] || die "$here/Dockerfile names no suite of Debian: it should say ARG BASE=debian:SUITE"
}

base() {
    ! buildah inspect "edgekd-base:$suite" >/dev/null 2>&1 || return 0
    rm -rf "$work/root"
    mkdir -p "$work/root"
    debootstrap --variant=minbase "$suite" "$work/root" "$mirror"
    rm -rf "$work/root"/var/cache/apt/archives/*.deb "$work/root"/var/lib/apt/lists/*
    echo "deb http://deb.debian.org/debian $suite main" >"$work/root/etc/apt/sources.list"
    local container
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$work/root" / >/dev/null
    buildah commit --quiet --rm "$container" "edgekd-base:$suite" >/dev/null
}

download() {
    local pip=("${PIP:-pip}" download --quiet --dest "$wheels" --find-links "$wheels" --constraint "$here/constraints.txt")
    pip+=("${machine[@]}")
    mkdir -p "$wheels"
    if [ -n "$torch_index" ]; then
        # From there alone, whatever other indexes this machine's pip has.
        PIP_EXTRA_INDEX_URL=$torch_index "${pip[@]}" --no-deps --index-url "$torch_index" torch torchvision ||
            die "torch did not come from $torch_index: TORCH_INDEX names another index; empty, torch is PyPI's, with CUDA"
    fi
    "${pip[@]}" "$here[train]" 'setuptools>=77'
}

build() {
    mkdir -p "$work/home/.config/pip"
    printf '[global]\nno-index = true\nfind-links = /mnt\n' >"$work/home/.config/pip/pip.conf"
    echo "deb $mirror $suite main" >"$work/sources.list"
    # What is mounted over what a base has leaves nothing in the image, no mount point either.
    buildah build --isolation chroot --tag edgekd --build-arg BASE="localhost/edgekd-base:$suite" \
        --volume "$wheels:/mnt:ro" --volume "$work/home:/root:ro" \
        --volume "$work/sources.list:/etc/apt/sources.list:ro" "$here"
}

edgekd() {
    echo "+ edgekd $*"
    # buildah runs a command, not an image's entry point.
    buildah run --isolation chroot --volume "$bundle:/project/bundle:ro" "$container" -- "$entry" "$@"
}

try() {
    container=$(buildah from --pull-never edgekd)
    trap 'buildah rm "$container" >/dev/null' EXIT
    local root left
    root=$(buildah mount "$container")
    left=$(find "$root/mnt" "$root/root" -mindepth 1 ! -name .bashrc ! -name .profile)
    [ -z "$left" ] || die "the build left something of this machine in the image: $left"
    entry=$(buildah inspect --format '{{index .OCIv1.Config.Entrypoint 0}}' "$container")
    edgekd --help
    edgekd bundle verify bundle
    edgekd bench bundle --seconds 1
    edgekd run /opt/edgekd/recipes/quickstart.yaml --dry-run
}

weigh() {
    local root packages
    root=$(buildah mount "$container")
    packages=$(echo "$root"/opt/venv/lib/python3.*/site-packages)
    buildah images
    du --summarize --block-size=MB "$root/usr" "$packages" | sed "s|$root||"
    du --max-depth=1 --block-size=MB "$packages" | sort --reverse --numeric-sort | sed "s|$packages/||" | sed -n 2,12p
}

[ $# = 1 ] || die "one argument, a bundle: tests/container/build.sh runs/quickstart/bundle"
bundle=$(realpath "$1")
[ -e "$bundle/manifest.json" ] || die "$bundle is no bundle: make quickstart makes runs/quickstart/bundle"
needs
base
download
time build
try
weigh
