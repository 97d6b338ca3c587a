#!/bin/sh
# Looks at the VM @VM@ of the bastion @ORIGIN@ and changes nothing. Run it as root on the VM:
#   ssh bastion vm check @VM@ | ssh root@vm sh
# Each line is OK or FAIL; any FAIL makes the exit code 1.
failed=0
ok() { echo "OK    $*"; }
fail() { echo "FAIL  $*"; failed=1; }
[ "$(id -u)" = 0 ] || { echo 'FAIL  run this as root'; exit 1; }

# ---- no way from a troubleshoot account to the data
for user in @TROUBLESHOOT@; do
    if ! id "$user" >/dev/null 2>&1; then fail "$user: there is no such Unix user"; continue; fi
    [ "$(id -u "$user")" = 0 ] && fail "$user: is root"
    bad=
    for group in $(id -Gn "$user"); do
        case $group in
            root|sudo|wheel|admin|adm|docker|lxd|incus|libvirt|kvm|disk|shadow|systemd-journal|podman)
                bad="$bad $group" ;;
            postgres|mysql|mongodb|redis|clickhouse|cassandra|elasticsearch)
                bad="$bad $group" ;;
        esac
    done
    if [ -z "$bad" ]; then ok "$user: in no group that leads to the data"
    else fail "$user: in the group(s)$bad: take it out (gpasswd -d $user GROUP)"; fi
    if command -v sudo >/dev/null && sudo -n -l -U "$user" 2>/dev/null | grep -q 'may run'; then
        fail "$user: sudo lets it run commands: remove it from sudoers"
    else ok "$user: sudo gives it nothing"; fi
    for place in @DATA_PLACES@; do
        [ -e "$place" ] || continue
        if setpriv --reuid "$(id -u "$user")" --regid "$(id -g "$user")" --init-groups \
                sh -c 'cd "$1" 2>/dev/null && ls >/dev/null 2>&1' sh "$place"; then
            fail "$user: can look into $place: chmod o-rwx it, or move it"
        else ok "$user: cannot look into $place"; fi
    done
    for socket in /var/run/docker.sock /run/podman/podman.sock /var/snap/lxd/common/lxd/unix.socket; do
        [ -S $socket ] || continue
        if setpriv --reuid "$(id -u "$user")" --regid "$(id -g "$user")" --init-groups \
                test -w $socket; then fail "$user: can write to $socket"; fi
    done
done
hba=$(ls /etc/postgresql/*/*/pg_hba.conf /var/lib/pgsql/data/pg_hba.conf 2>/dev/null)
for file in $hba; do
    if grep -Eq '^[[:space:]]*(local|host)[a-z]*[[:space:]].*[[:space:]]trust([[:space:]]|$)' "$file"; then
        fail "$file: trust lets every account in"
    else ok "$file: nothing is trusted"; fi
    if grep -Eq '^[[:space:]]*local[[:space:]].*[[:space:]]map=' "$file"; then
        fail "$file: a peer map may let an account in as another: look at pg_ident.conf"
    fi
done

# ---- no other keys and no passwords
settings=$(/usr/sbin/sshd -T 2>/dev/null) || settings=
want() {
    if echo "$settings" | grep -qix "$1"; then ok "sshd: $1"
    else fail "sshd: should say \`$1\`; run \`vm bootstrap @VM@\` again"; fi
}
want 'authorizedkeysfile none'
want 'passwordauthentication no'
want 'kbdinteractiveauthentication no'
want 'hostbasedauthentication no'
want 'authorizedprincipalsfile none'
want 'authorizedprincipalscommand /usr/local/libexec/bastion-guard %u %t %k'
want 'trustedusercakeys /etc/bastion/user_ca.pub'
want 'revokedkeys /var/lib/bastion/krl'
for user in @USERS@; do
    case $(getent shadow "$user" | cut -d: -f2) in
        ''|'*'|'!'*) ok "$user: has no password" ;;
        *) fail "$user: has a password: usermod -p '*' $user" ;;
    esac
done

# ---- the guard and what it goes by are root's alone
for file in /usr/local/libexec/bastion-guard /etc/bastion/guard.json /etc/bastion/user_ca.pub; do
    path=$file loose=
    while [ "$path" != / ]; do
        set -- $(stat -c '%u %a' "$path" 2>/dev/null || echo 'none 0')
        [ "$1" = 0 ] && [ $((0$2 & 022)) = 0 ] || loose="$loose $path"
        path=$(dirname "$path")
    done
    if [ -z "$loose" ]; then ok "$file: root's alone"
    else fail "$file: others may change$loose, or it is not there"; fi
done
if ssh-keygen -Q -l -f /var/lib/bastion/krl >/dev/null 2>&1; then ok 'the KRL can be read'
else fail 'the KRL cannot be read, so nobody gets in: run bastion-refresh'; fi

# ---- what a session started ends with it
if [ -d /run/systemd/system ]; then
    if systemd-analyze cat-config systemd/logind.conf 2>/dev/null |
            grep -v '^#' | grep '^KillUserProcesses=' | tail -n 1 | grep -q '=yes$'; then
        ok 'logind ends processes with the session'
    else fail 'logind: KillUserProcesses=yes is not set: run `vm bootstrap @VM@` again'; fi
fi
if ls /var/lib/systemd/linger/* >/dev/null 2>&1; then
    fail "processes of$(ls /var/lib/systemd/linger | sed 's/^/ /' | tr -d '\n') may linger"
else ok 'nobody may linger'; fi
for user in @USERS@; do
    if [ "$user" != root ] && { [ ! -f /etc/cron.allow ] || grep -qx "$user" /etc/cron.allow; } &&
            command -v crontab >/dev/null; then
        fail "$user: may leave cron jobs behind: /etc/cron.allow should name root alone"
    fi
done
[ $failed = 0 ] && echo 'OK    all of it'
exit $failed
