#!/bin/sh
# layers.sh SRC -- who may include whom; a lower layer never looks up. And
# which nat calls the core may make: the seams are a list, not a habit.
set -eu
export LC_ALL=C
cd "$1"
bad=0

includes() { # includes FOLDER: file:line:"name" or <name>, one per include
    find "$1" -maxdepth 1 -name '*.[ch]' -exec grep -HnoE '^ *# *include +["<][^">]+[">]' {} + 2>/dev/null |
        sed -E 's/^([^:]*:[0-9]+):.*(["<][^">]+[">])$/\1:\2/'
}
deny() { # deny FOLDER PATTERN WHY
    found=$(includes "$1" | grep -E ":[\"<]($2)" || true)
    [ -z "$found" ] || { printf '%s\n  %s/: %s\n' "$found" "$1" "$3" >&2; bad=1; }
}
only() { # only FOLDER PATTERN WHY: every include must match
    found=$(includes "$1" | grep -vE ":[\"<]($2)[\">]\$" || true)
    [ -z "$found" ] || { printf '%s\n  %s/: %s\n' "$found" "$1" "$3" >&2; bad=1; }
}

language='stdbool\.h|stddef\.h|stdint\.h|string\.h|assert\.h|xxhash\.h'
only core    "$language|antq\.h|(core|nat|crypto)/[a-z0-9_]+\.h" 'the core makes no system call and stands below the reactor'
only nat     "$language|antq\.h|(core|nat)/[a-z0-9_]+\.h|crypto/prim\.h" 'nat makes no system call'
deny core    'crypto/identity'                               "BoringSSL's types stay in crypto/"
deny nat     'core/(conn|stream|send|recv|endpoint)\.h'      'nat sees frames, addresses and times, not connections'
deny crypto  'core/(conn|stream|send|recv|endpoint)\.h|nat/|reactor/|apps/' 'crypto sees bytes and keys'
deny reactor 'core/(conn|stream|send|recv|frame|packet|endpoint|hand|space|sent|loss|path)\.h|nat/|apps/|crypto/(tls|protect|schedule|identity)\.h' 'the reactor sees datagrams and deadlines'
deny nat/node 'core/(conn|stream|send|recv|frame|packet|endpoint|hand|space|sent|loss|path)\.h|reactor/([b-z]|a[a-mo-z])|apps/|crypto/(tls|protect|schedule|identity)\.h' 'node sees the public calls, nat and small structures'
deny apps    'nat/[a-z_]*\.h|crypto/|core/([b-z]|a[a-mo-z]|an[a-su-z])|reactor/([b-z]|a[a-mo-z])' 'apps use the public headers only'
deny apps    'nat/node/([b-z]|a[a-mo-z])'  'apps use the public headers only'
deny apps/http 'nat/|crypto/|core/([b-z]|a[a-mo-z]|an[a-su-z])|reactor/([b-z]|a[a-mo-z])' 'apps use the public headers only'
deny apps/examples '(nat|crypto|core|reactor|apps)/'         'examples include what an installed program would'

seams='nat_(init|on_frame|next_frame|next_probe|on_path|on_record|tick|deadline|next_event)'
ninth=$(grep -hoE '\bnat_[a-z_]+ *\(' core/*.c 2>/dev/null | tr -d ' (' | sort -u | grep -vxE "$seams" || true)
[ -z "$ninth" ] || { printf 'core/ calls nat outside the seams: %s\n' "$ninth" >&2; bad=1; }
exit $bad
