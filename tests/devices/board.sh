#!/usr/bin/env bash
# An aarch64 board that is always at hand: Debian in a folder, emulated by QEMU, with a real sshd on loopback.
#
#   tests/devices/board.sh build        once, a quarter of an hour; as root, with debootstrap, qemu-user-static,
#                                       binfmt-support
#   tests/devices/board.sh start PORT   prints the configuration for ssh, whose host is called board
#   tests/devices/board.sh stop
#
# Its answers are a real aarch64's; its times mean nothing.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
root=${EDGEKD_BOARD:-$here/build/board}
keys=$root.keys
wheels=(numpy onnxruntime)
machine=(--platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64)
machine+=(--python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none --only-binary=:all:)

die() {
    echo "error: $*" >&2
    exit 1
}

emulated() {
    [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
}

build() {
    [ "$(id -u)" = 0 ] || die "a board is built by root: debootstrap makes device files and changes roots"
    for tool in debootstrap qemu-aarch64-static update-binfmts; do
        command -v "$tool" >/dev/null || die "$tool is missing: install Debian's debootstrap, qemu-user-static, binfmt-support"
    done
    [ ! -e "$root" ] || { echo "$root is there already"; return; }
    emulated
    rm -rf "$root.new"
    mkdir -p "$root.new"
    debootstrap --arch=arm64 --variant=minbase --foreign \
        --include=python3,python3-venv,openssh-server bookworm "$root.new"
    cp "$(command -v qemu-aarch64-static)" "$root.new/usr/bin/"
    chroot "$root.new" /debootstrap/debootstrap --second-stage
    chroot "$root.new" python3 -m venv --without-pip /opt/edge
    # This machine's pip unpacks them in seconds; the board's own would take a quarter of an hour.
    "${PIP:-pip}" install --quiet --target "$root.new/opt/edge/lib/python3.11/site-packages" "${machine[@]}" "${wheels[@]}"
    chroot "$root.new" /opt/edge/bin/python -c "import onnxruntime, platform; print(onnxruntime.__version__, platform.machine())"
    rm -rf "$root.new/var/cache/apt/archives"
    mkdir -p "$root.new/run/sshd" "$root.new/root/.ssh"
    chmod 700 "$root.new/root/.ssh"
    mv "$root.new" "$root"
}

start() {
    stop
    [ -e "$root/opt/edge/bin/python" ] || die "there is no board at $root: make board"
    emulated
    mkdir -p "$keys"
    [ -e "$keys/client" ] || ssh-keygen -q -t ed25519 -N "" -f "$keys/client"
    [ -e "$keys/host" ] || ssh-keygen -q -t ed25519 -N "" -f "$keys/host"
    install -m 600 "$keys/client.pub" "$root/root/.ssh/authorized_keys"
    install -m 600 "$keys/host" "$root/etc/ssh/edgekd_host_key"
    echo "[127.0.0.1]:$1 $(cut -d' ' -f1,2 "$keys/host.pub")" >"$keys/known_hosts"
    chroot "$root" /usr/sbin/sshd -f /dev/null -p "$1" -o ListenAddress=127.0.0.1 -o PidFile=/run/edgekd-sshd.pid \
        -o HostKey=/etc/ssh/edgekd_host_key -o PasswordAuthentication=no -o UsePAM=no -o Subsystem="sftp internal-sftp"
    cat >"$keys/config" <<CONFIG
Host board
    HostName 127.0.0.1
    Port $1
    User root
    IdentityFile $keys/client
    IdentitiesOnly yes
    UserKnownHostsFile $keys/known_hosts
CONFIG
    # Under emulation it takes a moment until it listens.
    for _ in $(seq 100); do
        if ssh -F "$keys/config" -o BatchMode=yes board true 2>/dev/null; then
            echo "$keys/config"
            return
        fi
        sleep 0.2
    done
    die "the board's sshd does not answer on port $1"
}

stop() {
    local file=$root/run/edgekd-sshd.pid
    if [ -e "$file" ] && grep -aq edgekd-sshd.pid "/proc/$(cat "$file")/cmdline" 2>/dev/null; then
        kill "$(cat "$file")"
    fi
    rm -f "$file"
}

case "${1:-}" in
    build) build ;;
    start) [ -n "${2:-}" ] || die "start needs a port, such as 2299"; start "$2" ;;
    stop) stop ;;
    *) die "build, start PORT or stop" ;;
esac
