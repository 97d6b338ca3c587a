#!/usr/bin/env bash
# Fetches the clients that no package of Debian 12 has, into one folder: OpenSSH of the backports
# (unpacked, not installed), Python and Node.js libraries in the versions pinned beside the tests.
#
#   tests/clients.sh target/tmp/clients
#
# Runs again only when something here or a pinned version changed. The system is left as it is.
set -euo pipefail

folder=$1
here=$(cd "$(dirname "$0")" && pwd)
pins=$here/tests/clients/pins
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/lock"
flock 9
stamp=$(cat "$here/clients.sh" "$pins"/* | sha256sum)
[ "$stamp" = "$(cat "$folder/stamp" 2>/dev/null || true)" ] && exit 0
rm -rf "$folder/stamp" "$folder/openssh" "$folder/apt" "$folder/venv" "$folder/node_modules"

# The network may fail once.
twice() { "$@" || { sleep 5; "$@"; }; }

# ---- OpenSSH of the backports: a private copy of apt's state, and of nothing else.
mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/openssh"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] http://deb.debian.org/debian bookworm-backports main" \
    >"$folder/apt/sources.list"
apt=(-qq -o "Dir::Etc::SourceList=$folder/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache"
    -o APT::Sandbox::User= -o Acquire::Retries=3)
twice apt-get "${apt[@]}" update
(cd "$folder/apt" && twice apt-get "${apt[@]}" download openssh-client/bookworm-backports)
dpkg -x "$folder"/apt/openssh-client_*.deb "$folder/openssh"
rm -rf "$folder/apt"
"$folder/openssh/usr/bin/ssh" -V

# ---- Python: paramiko, asyncssh and Ansible.
python3 -m venv "$folder/venv"
twice "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    --requirement "$pins/requirements.txt"

# ---- Node.js: ssh2, without its optional native parts.
cp "$pins/package.json" "$pins/package-lock.json" "$folder/"
(cd "$folder" && twice npm ci --silent --no-audit --no-fund --ignore-scripts --omit=optional)

echo "$stamp" >"$folder/stamp"
