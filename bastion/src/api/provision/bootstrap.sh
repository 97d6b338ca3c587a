#!/bin/sh
# Makes this machine the VM @VM@ (instance @INSTANCE@) of the bastion @ORIGIN@.
# Run it as root on a fresh VM. It can be run again: what is in place stays or is replaced whole.
# It holds a one-time token: keep it to yourself until it has run.
set -eu
umask 022

say() { echo "bastion: $*" >&2; }
die() { say "$*"; exit 1; }
[ "$(id -u)" = 0 ] || die 'run this as root'
[ -x /usr/sbin/sshd ] || die 'install openssh-server first'
for need in ssh-keygen sha256sum base64; do
    command -v $need >/dev/null || die "$need is missing: install it first"
done
url='@URL@' token='@TOKEN@' instance='@INSTANCE@' guard_sha256='@GUARD_SHA256@'
[ -z "$url" ] || command -v curl >/dev/null || die 'curl is missing: install it first'

# A file is replaced whole or not at all.
put() { cat > "$1.new"; chown root:root "$1.new"; chmod "$2" "$1.new"; mv -f "$1.new" "$1"; }

for folder in /etc/bastion /var/lib/bastion /usr/local/libexec /etc/ssh; do
    mkdir -p $folder; chown root:root $folder; chmod 755 $folder
done

# ---- what this VM knows by itself, whatever the bastion says later
put /etc/bastion/guard.json 644 <<'BASTION_END'
@GUARD_CONFIG@
BASTION_END
put /etc/bastion/user_ca.pub 644 <<'BASTION_END'
@USER_CAS@
BASTION_END
put /etc/bastion/krl.allowed 644 <<'BASTION_END'
@KRL_ALLOWED@
BASTION_END
put /etc/bastion/https.pem 644 <<'BASTION_END'
@AUTHORITY@
BASTION_END

ask() {
    if [ -s /etc/bastion/https.pem ]; then set -- --cacert /etc/bastion/https.pem "$@"; fi
    curl -fsS --proto '=https' --max-time 60 "$@"
}

# ---- the guard, which sshd asks about every certificate
guard=/usr/local/libexec/bastion-guard
if [ -n "$guard_sha256" ]; then
    if ! echo "$guard_sha256  $guard" | sha256sum -c --status 2>/dev/null; then
        ask -o $guard.new "$url/v1/guard"
        echo "$guard_sha256  $guard.new" | sha256sum -c --status || die 'the guard is not the one'
        chown root:root $guard.new; chmod 755 $guard.new; mv -f $guard.new $guard
    fi
fi
[ -x $guard ] || die "put the guard at $guard first: the bastion does not serve it"

# ---- the host key and its certificate
[ -f /etc/ssh/ssh_host_ed25519_key ] ||
    ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
certificate=/etc/ssh/ssh_host_ed25519_key-cert.pub
put $certificate.got 644 <<'BASTION_END'
@CERTIFICATE@
BASTION_END
if [ -n "$token" ]; then
    ask --data-binary @/etc/ssh/ssh_host_ed25519_key.pub -o $certificate.got \
        "$url/v1/enrol/$token" || { rm -f $certificate.got
        [ -s $certificate ] || die 'the bastion gives no host certificate: make a new bootstrap'
        say 'the token was used before; the host certificate stays as it is'; }
fi
if [ -f $certificate.got ]; then
    ssh-keygen -L -f $certificate.got >/dev/null || die 'this is no host certificate'
    mv -f $certificate.got $certificate
fi

# ---- what is revoked: fetched, checked, and only then put in place
put /usr/local/libexec/bastion-refresh 755 <<'BASTION_END'
#!/bin/sh
# Fetches what is revoked. An unreadable KRL would lock everybody out of sshd, so nothing comes
# into its place that is not signed, newer, and read by ssh-keygen.
set -eu
umask 022
cd /var/lib/bastion
new=$(mktemp -d .new.XXXXXX)
trap 'rm -rf "$new"' EXIT
fetch() {
    set -- "$1" -fsS --proto '=https' --max-time 20 --max-filesize 4194304 -o "$new/$1" \
        "@URL@/v1/vm/@INSTANCE@/$1"
    file=$1; shift
    if [ -s /etc/bastion/https.pem ]; then set -- --cacert /etc/bastion/https.pem "$@"; fi
    curl "$@" || { echo "bastion-refresh: no $file" >&2; return 1; }
}
krl_version() { ssh-keygen -Q -l -f "$1" 2>/dev/null | sed -n 's/^# KRL version //p'; }
list_version() { sed -n 's/^version //p' "$1" | head -n 1; }
# newer NEW OLD: numbers, and not a step back.
newer() { case "$1" in ''|*[!0-9]*) return 1 ;; esac; [ "$1" -ge "${2:-0}" ]; }
failed=0
if fetch krl; then
    sed -n '1,/^-----END SSH SIGNATURE-----$/p' "$new/krl" > "$new/sig"
    sed '1,/^-----END SSH SIGNATURE-----$/d' "$new/krl" | base64 -d > "$new/list" || :
    old=$([ -f krl ] && krl_version krl || echo 0)
    if ssh-keygen -q -Y verify -f /etc/bastion/krl.allowed -I bastion -n '@NAMESPACE@' \
            -s "$new/sig" < "$new/list" && newer "$(krl_version "$new/list")" "$old"; then
        chmod 644 "$new/list"; mv -f "$new/list" krl
    else
        echo 'bastion-refresh: the KRL is not signed, not readable, or older; the old one stays' >&2
        failed=1
    fi
else failed=1; fi
if fetch revocations; then
    old=$([ -f revocations ] && list_version revocations || echo 0)
    if newer "$(list_version "$new/revocations")" "$old"; then
        chmod 644 "$new/revocations"; mv -f "$new/revocations" revocations
    else
        echo 'bastion-refresh: the revocation list is older than the one here, which stays' >&2
        failed=1
    fi
else failed=1; fi
exit $failed
BASTION_END
if [ ! -f /var/lib/bastion/krl ]; then
    # An empty list: nothing is revoked, and sshd can read it.
    ssh-keygen -q -k -f /var/lib/bastion/krl.new </dev/null
    chmod 644 /var/lib/bastion/krl.new; mv -f /var/lib/bastion/krl.new /var/lib/bastion/krl
fi
if [ -n "$url" ]; then
    /usr/local/libexec/bastion-refresh || say 'not all lists could be fetched yet; the timer tries on'
fi
if [ -n "$url" ] && [ -d /run/systemd/system ]; then
    put /etc/systemd/system/bastion-refresh.service 644 <<'BASTION_END'
[Unit]
Description=What the bastion revoked
[Service]
Type=oneshot
ExecStart=/usr/local/libexec/bastion-refresh
BASTION_END
    put /etc/systemd/system/bastion-refresh.timer 644 <<'BASTION_END'
[Unit]
Description=What the bastion revoked, every 20 seconds
[Timer]
OnBootSec=5
OnUnitActiveSec=20
AccuracySec=1
[Install]
WantedBy=timers.target
BASTION_END
    systemctl daemon-reload
    systemctl enable --now bastion-refresh.timer
elif [ -n "$url" ] && [ -d /etc/cron.d ]; then
    put /etc/cron.d/bastion 644 <<'BASTION_END'
* * * * * root for i in 1 2 3; do /usr/local/libexec/bastion-refresh; sleep 20; done
BASTION_END
fi

# ---- what a session started ends with it
mkdir -p /etc/systemd/logind.conf.d
put /etc/systemd/logind.conf.d/50-bastion.conf 644 <<'BASTION_END'
[Login]
KillUserProcesses=yes
KillExcludeUsers=
BASTION_END
rm -rf /var/lib/systemd/linger
for kind in cron at; do put /etc/$kind.allow 644 <<'BASTION_END'
root
BASTION_END
done
pam=no
if [ -d /run/systemd/system ]; then
    pam=yes
    systemctl try-restart systemd-logind
fi

# ---- sshd: the guard's word, and no other way in
[ -f /etc/ssh/sshd_config.before-bastion ] || [ ! -f /etc/ssh/sshd_config ] ||
    cp -p /etc/ssh/sshd_config /etc/ssh/sshd_config.before-bastion
sed "s/^UsePAM .*/UsePAM $pam/" > /etc/ssh/sshd_config.new <<'BASTION_END'
# Written by the bastion @ORIGIN@ for @VM@. Other keys, passwords and files are not looked at.
Port @PORT@
HostKey /etc/ssh/ssh_host_ed25519_key
HostCertificate /etc/ssh/ssh_host_ed25519_key-cert.pub
TrustedUserCAKeys /etc/bastion/user_ca.pub
AuthorizedPrincipalsCommand /usr/local/libexec/bastion-guard %u %t %k
AuthorizedPrincipalsCommandUser nobody
AuthorizedPrincipalsFile none
RevokedKeys /var/lib/bastion/krl
AuthenticationMethods publickey
AuthorizedKeysFile none
AuthorizedKeysCommand none
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
AllowUsers @USERS@
PermitRootLogin @ROOT@
PermitUserRC no
PermitUserEnvironment no
StrictModes yes
UsePAM no
ExposeAuthInfo yes
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
AllowAgentForwarding yes
X11Forwarding yes
GatewayPorts no
PermitTunnel no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
PrintMotd no
LoginGraceTime 30
MaxSessions 100
MaxStartups 100:30:200
LogLevel VERBOSE
BASTION_END
mkdir -p /run/sshd
/usr/sbin/sshd -t -f /etc/ssh/sshd_config.new || die 'sshd refuses the configuration; nothing changed'
chmod 644 /etc/ssh/sshd_config.new
mv -f /etc/ssh/sshd_config.new /etc/ssh/sshd_config
for user in @USERS@; do
    id "$user" >/dev/null 2>&1 || say "there is no Unix user $user yet: make it, without a password"
done
if [ -d /run/systemd/system ]; then
    systemctl try-reload-or-restart ssh.service sshd.service 2>/dev/null || :
fi
say 'done: @VM@ takes certificates of @ORIGIN@ alone'
