#!/usr/bin/env bash
# Installs what is missing of PROGRAM:PACKAGE pairs, and leaves no service running or enabled that
# was not there before: Debian's packages start theirs on installation.
#
#   tests/install.sh /usr/sbin/sshd:openssh-server cc:gcc
set -euo pipefail

missing=()
for pair in "$@"; do
    program=${pair%%:*} package=${pair#*:}
    # A pattern (PostgreSQL's folder carries its version) counts when any file matches.
    if ! command -v "$program" >/dev/null 2>&1 && ! compgen -G "$program" >/dev/null; then
        missing+=("$package")
    fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "needs the Debian packages ${missing[*]}: install them, or sudo, and run this again" >&2
        exit 1
    fi
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
    echo "needs what Debian calls ${missing[*]}: install it with your system's packager" >&2
    exit 1
fi
echo "installing: ${missing[*]} (their own services are neither started nor enabled)"

# Everything that needs root, in one go, so that its cleaning up always runs.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive bash -s -- "${missing[@]}" <<'ROOT'
set -euo pipefail
no_start=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.conf
undo=()
finish() {
    for step in "${undo[@]}"; do eval "$step"; done
}
trap finish EXIT

# Debian's own way to say "do not start services"; if somebody else has said something, that stands.
if [ ! -e "$no_start" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$no_start"
    chmod 755 "$no_start"
    undo+=('rm -f "$no_start"')
fi
log=$(mktemp)
undo+=('rm -f "$log"')
# Quiet when all is well: Debian reports each service that it was told not to start.
apt() {
    apt-get -o DPkg::Lock::Timeout=600 "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; exit 1; }
}
install() { apt install -y --no-install-recommends "$@"; }
apt update
for package in "$@"; do
    if [ "$package" = postgresql ]; then
        # Otherwise the package makes a database cluster that starts with the machine.
        install postgresql-common
        cp -p "$cluster" "$cluster.before"
        undo+=('mv -f "$cluster.before" "$cluster"')
        echo 'create_main_cluster = false' >>"$cluster"
    fi
done
install "$@"
for package in "$@"; do
    if [ "$package" = openssh-server ]; then
        systemctl disable --quiet ssh.service 2>/dev/null || update-rc.d ssh disable || true
    fi
done
ROOT
