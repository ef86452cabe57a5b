# users.sh - when root runs ./up, only the supervisor stays root: each service has a user of its
# own, without capabilities, that can read its own files and not those of the others.
#
#     checkout-NAME   the user of the service NAME: owns its configuration, its key, the
#                     list of its callers and its socket
#     checkout-watcher  the watcher's: reaches the sockets, and sees how large the logs are
#     checkout        their group: reads known_services and jwks.json, which hold public
#                     keys only, and makes and reaches the sockets in STATE/run
#     postgres        the private cluster's
#
# The programs and the page's files are copied into STATE/programs, because a tree is
# often in a folder (/root) that these users cannot enter.  Run by anybody else, everything runs as
# that user.

USERS=(inventory payment orchestrator gateway webhook watcher)
NO_CAPABILITIES=(--bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs)

# as_user NAME: sets AS to the prefix that runs a command as that service's user.
as_user() {
    AS=()
    ((EUID != 0)) || AS=(env HOME=/nonexistent setpriv --reuid "checkout-$1" --regid checkout
        --clear-groups "${NO_CAPABILITIES[@]}")
}

# Once for each machine.  Two starts at once may block each other for a moment, hence the tries.
users_make() {
    local name
    ((EUID == 0)) || return 0
    account_make group checkout groupadd --system checkout
    for name in "${USERS[@]}"; do
        account_make passwd "checkout-$name" useradd --system --gid checkout \
            --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "checkout-$name"
    done
}

# account_make DATABASE NAME COMMAND...
account_make() {
    local tries=50 why=
    until getent "$1" "$2" >/dev/null; do
        ((tries-- > 0)) || die "There is no $1 entry $2 and it could not be made: $why"
        why=$("${@:3}" 2>&1) || nap 0.1
    done
}

# programs_install: sets PROGRAMS_DIR and STOREFRONT to folders that every service can read.
programs_install() {
    local new=$STATE/programs.new
    PROGRAMS_DIR=$BIN STOREFRONT=$REPO/storefront
    ((EUID == 0)) || return 0
    PROGRAMS_DIR=$STATE/programs STOREFRONT=$STATE/programs/storefront
    rm -rf "$new"
    mkdir "$new"
    cp -rL "${USERS[@]/#/$BIN/}" "$REPO/storefront" "$new" ||
        die "The programs could not be copied to $STATE; is its disk full?"
    chmod -R u=rwX,go=rX "$new"
    rm -rf "$PROGRAMS_DIR"
    mv "$new" "$PROGRAMS_DIR"
}

# users_own: gives each user its files; at each start, because root rewrites them.
users_own() {
    local name keys=$STATE/keys
    if ((EUID != 0)); then
        chmod 700 "$RUN"
        return 0
    fi
    chmod 711 "$STATE/conf" "$keys"
    chown root:checkout "$RUN" "$STATE/log" "$keys"/{known_services,jwks.json}
    chmod 1770 "$RUN"
    chmod 710 "$STATE/log"
    chmod 640 "$keys"/{known_services,jwks.json}
    for name in "${USERS[@]}"; do
        user_owns "$name" "$STATE/conf/$name.conf" "$keys/$name.key" "$keys/$name.callers"
    done
    user_owns gateway "$keys/demo.jwt"
    [[ ! -d $STATE/webhook ]] || chown -R checkout-webhook:checkout "$STATE/webhook"
}

# user_owns NAME FILE...: gives NAME's user those files that exist.
user_owns() {
    local file
    for file in "${@:2}"; do
        [[ ! -e $file ]] || { chown "checkout-$1:checkout" "$file" && chmod 600 "$file"; }
    done
}

# user_check_enter USER WHO: exits unless the user can enter the state folder.
user_check_enter() {
    local as=(setpriv --reuid "$1" --regid "$(id -g "$1")" --init-groups)
    local folder=$STATE closed=$STATE
    ((EUID == 0)) || return 0
    ! "${as[@]}" test -x "$STATE" || return 0
    # Name the outermost closed folder: that is the one to open.
    while [[ $folder != / ]]; do
        "${as[@]}" test -x "$folder" || closed=$folder
        folder=$(dirname "$folder")
    done
    die "User $1, which $2 runs as, cannot enter $closed; allow it with: chmod o+x $closed - or choose another --state."
}
