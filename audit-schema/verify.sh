#!/bin/sh
# Verify an export of the bastion's audit log with sha256sum, jq (from 1.6), openssl (from 3.0)
# and a POSIX shell. The format is FORMAT.md; this text stands in it too.
#
#   sh verify.sh EXPORT [CHECKPOINT KEY [OPENINGS]]     the whole log, from entry 0
#   sh verify.sh --customer EXPORT [OPENINGS]           one customer's entries alone
#   sh verify.sh --tiles FOLDER KEY                     a published tree, entry by entry
#   sh verify.sh --proof PROOF KEY ENTRY                one entry's tlog-proof; ENTRY is its line
#
# EXPORT and OPENINGS are JSON lines, CHECKPOINT a signed note, KEY the log's key as
# name+hash+base64. Get KEY from somewhere else than the export.
#
# Exit status: 0 what was given holds; 1 it does not, and the first broken line is named;
# 2 wrong usage, or a tool or file is missing. Nothing of the export is ever run or printed.
set -eu
export LC_ALL=C

say() { printf '%s\n' "$1"; }
broken() { printf 'BROKEN: %s\n' "$1" >&2; exit 1; }
stop() { printf '%s\n' "$1" >&2; exit 2; }
# The digest alone of what sha256sum prints, for standard input.
digest() { sum=$(sha256sum) && printf '%s' "${sum%% *}"; }

mode=log
case ${1-} in
--customer | --tiles | --proof) mode=${1#--} && shift ;;
esac
checkpoint='' openings='' tiles='' export=${1-}
case $mode:$# in
log:1) ;;
log:3 | log:4) checkpoint=$2 key=$3 openings=${4-} ;;
customer:1 | customer:2) openings=${2-} ;;
tiles:2) tiles=$1 checkpoint=$1/checkpoint key=$2 mode=log ;;
proof:3) checkpoint=$1 key=$2 export=$3 ;;
*) stop 'usage: sh verify.sh [--customer | --tiles | --proof] FILE..., as in its first lines' ;;
esac
for file in "$export" ${checkpoint:+"$checkpoint" "$key"} ${openings:+"$openings"}; do
    [ -r "$file" ] || stop "cannot read $file"
done
for tool in sha256sum jq openssl mktemp; do
    command -v "$tool" >/dev/null || stop "$tool is missing: install it"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 2' HUP INT TERM

# What the jq programs below share: hex and base64 to bytes, and bytes to printf's octal escapes.
bytes='
def unhex: explode | map(if . < 58 then . - 48 else . - 87 end) as $d
    | [range(0; $d | length; 2) | $d[.] * 16 + $d[. + 1]];
def hex: map([(. / 16 | floor), . % 16] | map(if . < 10 then . + 48 else . + 87 end)
    | implode) | add // "";
def octal: map("\\" + ([(. / 64 | floor), (. / 8 | floor) % 8, . % 8]
    | map(tostring) | add)) | add // "";
def sextet: if . >= 65 and . <= 90 then . - 65 elif . >= 97 and . <= 122 then . - 71
    elif . >= 48 and . <= 57 then . + 4 elif . == 43 then 62 elif . == 47 then 63
    else error("not base64") end;
# Padding is needed, and the bits that fill up the last byte are zero: one spelling.
def unbase64: explode as $c | ($c | length) as $n
    | (if $c[$n - 2:] == [61, 61] then 2 elif $c[$n - 1:] == [61] then 1 else 0 end) as $pad
    | if $n % 4 != 0 then error("not base64") else . end
    | ($c[:$n - $pad] | map(sextet)) + [range($pad) | 0]
    | . as $s | [range(0; $n; 4) | $s[.] * 262144 + $s[. + 1] * 4096 + $s[. + 2] * 64 + $s[. + 3]
        | (. / 65536 | floor), (. / 256 | floor) % 256, . % 256]
    | if .[length - $pad:] | any(. != 0) then error("not base64") else .[:length - $pad] end;
'

# A proof file: a header, perhaps extra data, the index, the hashes, an empty line, the checkpoint.
if [ "$mode" = proof ]; then
    sed '/^$/,$d' "$checkpoint" >"$work/head"
    sed '1,/^$/d' "$checkpoint" >"$work/proof-note"
    [ "$({ cat "$work/head" && echo && cat "$work/proof-note"; } | digest)" = \
        "$(digest <"$checkpoint")" ] || broken 'the proof: it has no empty line, or ends early'
    checkpoint=$work/proof-note
fi

# The checkpoint: three lines, an empty one, signatures; one of them is the key's and is right.
origin='' size='' root=''
if [ -n "$checkpoint" ]; then
    IFS= read -r vkey <"$key" || [ -n "$vkey" ] || broken 'the key: the file is empty'
    name=${vkey%%+*} rest=${vkey#*+}
    id=${rest%%+*} public=${rest#*+}
    public=$(jq -n -r --arg key "$public" "$bytes"'$key | unbase64
        | if length == 33 and .[0] == 1 then octal else error("no") end' 2>/dev/null) ||
        broken 'the key: it is not an ed25519 key as name+hash+base64'
    sum=$({ printf '%s\n' "$name" && printf "$public"; } | digest)
    [ "${#id}" -eq 8 ] && [ "$sum" != "${sum#"$id"}" ] ||
        broken 'the key: its hash is not that of its name and key'
    signature=''
    {
        IFS= read -r origin && IFS= read -r size && IFS= read -r root && IFS= read -r empty &&
            [ -z "$empty" ] || broken 'the checkpoint: it is not three lines and signatures'
        printf '%s\n%s\n%s\n' "$origin" "$size" "$root" >"$work/text"
        { printf '%s\n%s\n%s\n\n' "$origin" "$size" "$root"; } >"$work/note"
        while IFS= read -r line; do
            printf '%s\n' "$line" >>"$work/note"
            case $line in
            "— $name "*)
                blob=$(jq -n -r --arg blob "${line#"— $name "}" "$bytes"'$blob | unbase64
                    | if length > 4 then (.[:4] | hex) + " " + (.[4:] | octal)
                      else error("no") end' 2>/dev/null) ||
                    broken 'the checkpoint: a signature line is not base64'
                [ "${blob%% *}" = "$id" ] || continue
                [ -z "$signature" ] || broken 'the checkpoint: it has two signatures of the key'
                signature=${blob#* }
                ;;
            "— "*) ;;
            *) broken 'the checkpoint: it has a line that is no signature' ;;
            esac
        done
        [ -z "$line" ] || broken 'the checkpoint: it has no newline at its end'
    } <"$checkpoint"
    [ "$(digest <"$work/note")" = "$(digest <"$checkpoint")" ] ||
        broken 'the checkpoint: it holds a byte that no text has'
    [ -n "$signature" ] || broken 'the checkpoint: this key has not signed it'
    printf "$signature" >"$work/signature"
    { printf '\060\052\060\005\006\003\053\145\160\003\041\000' &&
        printf "${public#????}"; } >"$work/public.der"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/public.der" -rawin \
        -in "$work/text" -sigfile "$work/signature" >/dev/null 2>&1 ||
        broken 'the checkpoint: its signature is wrong'
    [ "$origin" = "$name" ] || broken "the checkpoint: its origin is not the key's name"
    case $size in '' | *[!0-9]* | 0?* | ?????????????????*)
        broken 'the checkpoint: its size is not a number' ;;
    esac
    root=$(jq -n -r --arg root "$root" "$bytes"'$root | unbase64
        | if length == 32 then hex else error("no") end' 2>/dev/null) ||
        broken 'the checkpoint: its root is not 32 bytes as base64'
    say "checkpoint: the signature holds, over $size entries"
fi

# A published tree: each bundle is entries behind their lengths, two bytes each. They become an
# export, which is verified as one; the tiles are compared further down, when their hashes are known.
place() { # INDEX: as a path, three digits a folder
    place=$(printf '%03d' $(($1 % 1000))) above=$(($1 / 1000))
    while [ "$above" -gt 0 ]; do
        place=$(printf 'x%03d/%s' $((above % 1000)) "$place") above=$((above / 1000))
    done
}
found() { # PATH WIDTH: the file of a tile or bundle, or the full one in place of a partial one
    file=$tiles/$1
    [ "$2" -eq 256 ] || [ ! -f "$file.p/$2" ] || file=$file.p/$2
    [ -f "$file" ] || broken "$1: it is missing"
}
if [ -n "$tiles" ]; then
    export=$work/export done=0
    : >"$export"
    while [ "$done" -lt "$size" ]; do
        width=$((size - done)) at=0
        [ "$width" -le 256 ] || width=256
        place $((done / 256))
        found "tile/entries/$place" "$width"
        bytes_there=$(wc -c <"$file") left=$width
        while [ "$left" -gt 0 ]; do
            length=$(od -An -tu1 -j "$at" -N 2 "$file" 2>/dev/null |
                { read -r high low && echo $((high * 256 + low)); }) &&
                [ $((at + 2 + length)) -le "$bytes_there" ] ||
                broken "tile/entries/$place: it ends within an entry, or before its last"
            tail -c "+$((at + 3))" "$file" | head -c "$length" >>"$export"
            echo >>"$export"
            at=$((at + 2 + length)) left=$((left - 1))
        done
        case $file in *".p/$width") full=$width ;; *) full=256 ;; esac
        [ "$full" -ne "$width" ] || [ "$at" -eq "$bytes_there" ] ||
            broken "tile/entries/$place: it has more entries than its name says"
        done=$((done + width))
    done
fi

# Split the export into one file a line, each behind the zero byte of a leaf, and hash them a
# thousand at a time. The copy shows whether the shell read every byte.
mkdir "$work/leaf"
: >"$work/hashes" && : >"$work/copy"
count=0 names=''
hash_names() { # DIRECTORY OUTPUT: appends the digests of the files in $names
    [ -z "$names" ] || (cd "$1" && sha256sum $names) >>"$2"
    names=''
}
exec 3>>"$work/copy"
while IFS= read -r line; do
    { printf '\000' && printf '%s' "$line"; } >"$work/leaf/$count"
    printf '%s\n' "$line" >&3
    names="$names $count"
    count=$((count + 1))
    [ $((count % 1000)) -ne 0 ] || hash_names "$work/leaf" "$work/hashes"
done <"$export"
exec 3>&-
hash_names "$work/leaf" "$work/hashes"
rm -rf "$work/leaf"
[ -z "$line" ] || broken "line $((count + 1)): it has no newline at its end: the file was cut off"
[ "$count" -gt 0 ] || broken 'there are no entries'

# The proof: from the entry's hash and the hashes given to the root (RFC 9162, 2.1.3.2).
if [ "$mode" = proof ]; then
    [ "$count" -eq 1 ] || broken 'the entry: it is not one line'
    {
        IFS= read -r line && [ "$line" = 'c2sp.org/tlog-proof@v1' ] && IFS= read -r line ||
            broken 'the proof: it is not a tlog-proof'
        case $line in 'extra '*) IFS= read -r line || broken 'the proof: it has no index' ;; esac
        case $line in 'index '*) index=${line#index } ;; *) broken 'the proof: it has no index' ;; esac
        case $index in '' | *[!0-9]* | 0?* | ?????????????????*)
            broken 'the proof: its index is not a number' ;;
        esac
        [ "$index" -lt "$size" ] || broken 'the proof: its index is not within the tree'
        read -r hash rest <"$work/hashes"
        place=$index last=$((size - 1))
        while IFS= read -r line; do
            sibling=$(jq -n -r --arg hash "$line" "$bytes"'$hash | unbase64
                | if length == 32 then hex else error("no") end' 2>/dev/null) ||
                broken 'the proof: a hash is not 32 bytes as base64'
            [ "$last" -gt 0 ] || broken 'the proof: it has too many hashes'
            if [ $((place % 2)) -eq 1 ] || [ "$place" -eq "$last" ]; then
                pair=$sibling$hash
                while [ $((place % 2)) -eq 0 ]; do place=$((place / 2)) last=$((last / 2)); done
            else
                pair=$hash$sibling
            fi
            pair=$(jq -n -r --arg pair "$pair" "$bytes"'[1] + ($pair | unhex) | octal')
            hash=$(printf "$pair" | digest)
            place=$((place / 2)) last=$((last / 2))
        done
    } <"$work/head"
    [ "$last" -eq 0 ] && [ "$hash" = "$root" ] ||
        broken 'the proof: it does not lead from this entry to the root of the checkpoint'
    [ "$(jq -R 'fromjson | .seq' <"$export" 2>/dev/null)" = "$index" ] ||
        broken 'the entry: it is in the log, but says of itself that it is another'
    say "proof: the entry is number $index of the log"
    exit 0
fi

# The entries: each one spelled in the one way, in its place, linked to the one before, not
# earlier than it, and linked to its customer's entry before.
entries='
def natural: type == "number" and . >= 0 and . <= 9007199254740991 and floor == .;
def hash: type == "string" and test("\\A[0-9a-f]{64}\\z");
def moment: type == "string" and
    test("\\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z\\z");
# jq writes DEL as an escape, so a line with one cannot be compared with what jq writes.
def canonical($line): ($line | contains("\u007f")) or tojson == $line;
def plain: all(..; if type == "object" then
        keys == keys_unsorted and all(keys[]; test("\\A[ !#-\\[\\]-~]+\\z"))
    elif type == "number" then fabs <= 9007199254740991 and floor == . and tostring != "-0"
    else type != "null" end);
def shape: type == "object"
    and keys - ["actor","commit","customer","event","gateway","prev","seq","time"] == []
    and (.actor | type == "object" and keys == ["id","kind"] and all(.[]; type == "string"))
    and (if has("commit") then .commit | type == "object" and length > 0 and all(.[]; hash)
        else true end)
    and (if has("customer") then .customer | type == "object" and keys == ["id","prev","seq"]
        and (.id | type == "string") and (.prev | hash) and (.seq | natural) else true end)
    and (.event | type == "object" and (.type | type == "string" and . != "")
        and (.v | natural))
    and (.gateway | type == "string") and (.prev | hash) and (.seq | natural)
    and (.time | moment);
def entry: . as $line | (try fromjson catch null) as $e
    | if ($e | canonical($line) and plain) | not then {fault: "it is not canonical JSON"}
    elif ($e | shape) | not then {fault: "it has not the fields of an entry"}
    else $e | {seq, prev, time, customer, first: (.event.type == "genesis"),
        format: (.event.format == 1 and .event.v == 1 and .customer == null),
        origin: (.event.origin == $origin or $origin == "")} end;
def follows($c; $last): if $c.seq != ($last.seq + 1) then
        "the chain of its customer has a gap: its seq is not one more than before"
    elif $c.prev != $last.leaf then "the prev of its customer is not the hash of the entry before"
    else null end;
("0" * 64) as $zero | {seq: -1, leaf: $zero} as $none
| ($hashes / "\n" | map(.[:64])) as $h
| [inputs | entry] as $e
| def in_log($i): $e[$i] as $x
    | if $x.seq > $i then "it is missing: a later entry stands in its place"
    elif $x.seq < $i then "an earlier entry stands in its place: doubled, or not in order"
    elif $x.prev != (if $i == 0 then $zero else $h[$i - 1] end) then
        if $i > 0 and $e[$i + 1].prev == $h[$i] then "before" else
        "its prev is not the hash of the line before: one of the two was changed" end
    elif $x.first != ($i == 0) then "the genesis must be entry 0 and entry 0 alone"
    elif $i == 0 and ($x.format | not) then "the genesis is of another format"
    elif $i == 0 and ($x.origin | not) then "the checkpoint is of another log: its origin differs"
    else null end;
  def in_customer($i): $e[$i] as $x
    | if $x.customer == null or $x.customer.id != $e[0].customer.id then
        "it is not of the customer of the first line"
    elif $x.first or $x.seq == 0 then "the genesis is no entry of a customer"
    elif $i > 0 and $x.seq <= $e[$i - 1].seq then "it is not in order"
    elif $i > 0 and $x.seq == $e[$i - 1].seq + 1 and $x.prev != $h[$i - 1] then
        "its prev is not the hash of the line before, which is the entry before"
    else null end;
  [label $out | foreach range($e | length) as $i ({c: {}, fault: null};
    .fault = ($e[$i].fault
        // (if $mode == "log" then in_log($i) else in_customer($i) end)
        // (if $i > 0 and $e[$i].time < $e[$i - 1].time then
            "its time is before that of the line before" else null end)
        // ($e[$i].customer as $c | if $c == null then null
            else follows($c; .c[$c.id] // $none) end))
    | $e[$i].customer as $c
    | if $c != null and .fault == null then .c[$c.id] = {seq: $c.seq, leaf: $h[$i]} else . end
    | .at = $i;
    if .fault == "before" then "line \(.at): it was changed: the line after it has another hash of it",
        break $out
    elif .fault != null then "line \(.at + 1): \(.fault)", break $out
    elif $i + 1 == $count then "holds \(.c | length)" else empty end)]
  | if ($e | length) == $count then first else "jq and sh see different lines" end
'
verdict=$(jq -R -n -r --rawfile hashes "$work/hashes" --arg mode "$mode" --arg origin "$origin" \
    --argjson count "$count" "$entries" <"$export") || broken 'jq could not read the export'
case $verdict in
'holds '*) ;;
*) broken "$verdict" ;;
esac
[ "$(digest <"$work/copy")" = "$(digest <"$export")" ] ||
    broken 'the export holds a NUL byte, which no entry has'
if [ "$mode" = log ]; then
    say "chain: $count entries hold, and the chains of ${verdict#holds } customers in them"
else
    say "chain: $count entries of one customer hold, without a gap from its first"
fi

# The tree: hash the leaves two by two, level by level; an odd one moves up as it is.
if [ -n "$checkpoint" ]; then
    [ "$count" -ge "$size" ] ||
        broken "line $((count + 1)): it is missing, and all after it: the checkpoint signs $size"
    left=$size height=0
    compare_tiles() { # the hashes of $work/level, of perfect subtrees, with the tiles of their level
        level=$((height / 8)) there=$((size >> height)) done=0
        while [ "$done" -lt "$there" ]; do
            width=$((there - done))
            [ "$width" -le 256 ] || width=256
            place $((done / 256))
            found "tile/$level/$place" "$width"
            case $file in *".p/$width") full=$width ;; *) full=256 ;; esac
            [ "$(wc -c <"$file")" -eq $((full * 32)) ] ||
                broken "tile/$level/$place: it is not as long as its name says"
            od -An -v -tx1 -w32 "$file" | tr -d ' ' | head -n "$width" >"$work/theirs"
            sed -n "$((done + 1)),$((done + width))p" "$work/level" | cut -c 1-64 >"$work/ours"
            cmp -s "$work/theirs" "$work/ours" ||
                broken "tile/$level/$place: it has not the hashes of what is below it"
            done=$((done + width))
        done
    }
    if [ "$size" -eq 0 ]; then
        : | sha256sum >"$work/level"
    else
        jq -R -n -r --argjson size "$size" 'limit($size; inputs)' <"$work/hashes" >"$work/level"
    fi
    [ -z "$tiles" ] || compare_tiles
    while [ "$left" -gt 1 ]; do
        jq -R -n -r "$bytes"'[inputs | .[:64]] as $h | range(0; $h | length; 2)
            | if . + 1 < ($h | length) then [1] + ($h[.] + $h[. + 1] | unhex) | octal
              else $h[.] end' <"$work/level" >"$work/pairs"
        : >"$work/level"
        mkdir "$work/node"
        node=0
        while IFS= read -r pair; do
            if [ $((node * 2 + 1)) -eq "$left" ]; then
                hash_names "$work/node" "$work/level"
                printf '%s\n' "$pair" >>"$work/level"
            else
                printf "$pair" >"$work/node/$node"
                names="$names $node"
            fi
            node=$((node + 1))
            [ $((node % 1000)) -ne 0 ] || hash_names "$work/node" "$work/level"
        done <"$work/pairs"
        hash_names "$work/node" "$work/level"
        rm -rf "$work/node"
        left=$node height=$((height + 1))
        [ -z "$tiles" ] || [ $((height % 8)) -ne 0 ] || compare_tiles
    done
    IFS= read -r top <"$work/level"
    [ "${top%% *}" = "$root" ] ||
        broken 'the entries are not those that the checkpoint signs: their root is another'
    say "tree: the first $size entries have the root of the checkpoint"
    [ "$count" -eq "$size" ] ||
        say "note: $((count - size)) more come after it: they are linked, but nothing signs them"
else
    say 'note: without a checkpoint, a cut-off end or a log that was written anew does not show'
fi

# The openings: HMAC-SHA256 with the salt as the key over the value is what the entry commits to.
if [ -n "$openings" ]; then
    jq -R -n -r --slurpfile entries "$export" "$bytes"'
        ($entries | map({key: (.seq | tostring), value: .commit}) | from_entries) as $commit
        | inputs | (try fromjson catch null) as $o
        | if ($o | type) != "object" or ($o | keys) != ["field","salt","seq","value"]
            or ([$o | .field, .seq, .value | type] != ["string","number","string"])
            or ($o.salt | tostring | test("\\A[0-9a-f]{64}\\z") | not) then "malformed - -"
          else ($commit[$o.seq | tostring] // {} | .[$o.field]) as $c
          | if $c == null then "absent - -"
            else "\($c) \($o.salt) \($o.value | @base64 | unbase64 | octal)" end end
        ' <"$openings" >"$work/openings" || broken 'the openings: jq could not read them'
    opened=0
    while read -r commitment salt value; do
        opened=$((opened + 1))
        case $commitment in
        malformed) broken "openings, line $opened: it is not an opening" ;;
        absent) broken "openings, line $opened: no entry here commits to this field" ;;
        esac
        mac=$(printf "$value" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$salt" -r)
        [ "${mac%% *}" = "$commitment" ] ||
            broken "openings, line $opened: the entry commits to something else"
    done <"$work/openings"
    say "openings: $opened hold"
fi
