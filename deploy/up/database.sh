# database.sh - the database: a private PostgreSQL cluster, or the one of
# CHECKOUT_DATABASE_URL.  Either way `checkoutctl migrate` makes what is inside.
#
# The private cluster listens on STATE/run/.s.PGSQL.5432 alone and knows its clients by
# their Unix user (peer), so it has no passwords at all.  An outside database gets one
# random password a service role, kept in STATE/keys/roles.  Its owner's URL is in
# STATE/keys/migrate.conf, for `checkoutctl migrate` alone.

ROLES=(inventory payment orders sandbox)

database_is_private() {
    [[ -z $OWNER_URL ]]
}

# Our programs get complete URLs, so libpq's variables must not add to them.
libpq_environment_clear() {
    local name
    for name in $(compgen -e PG || true); do
        unset "$name"
    done
}

# URLs that come from a file may end in a line end, which would break the configuration in two.
urls_trim() {
    local name
    for name in CHECKOUT_DATABASE_URL CHECKOUT_NATS_URL; do
        [[ ! ${!name:-} =~ ^[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]] ||
            printf -v "$name" '%s' "${BASH_REMATCH[1]}"
    done
}

# A state folder stays with the kind of database it was made with, which holds its orders.
database_check_kind() {
    if database_is_private && [[ -e $STATE/outside && ! -e $STATE/postgres ]]; then
        die "$STATE was made with an outside database, and CHECKOUT_DATABASE_URL is not set; set it, or choose another --state."
    elif ! database_is_private && [[ -e $STATE/postgres ]]; then
        die "$STATE was made with a private PostgreSQL cluster, so CHECKOUT_DATABASE_URL must not be set; unset it, or choose another --state."
    fi
}

# database_url_full [ROLE]: OWNER_URL with all defaults written out; with ROLE, the same URL for
# that role, with no password and nothing of the owner's.  Passed by a pipe: it may be a secret.
database_url_full() {
    printf 'database_url = %s\n' "$OWNER_URL" |
        "$BIN/checkoutctl" --config /dev/stdin database url "$@" 2>&1
}

# Completes a given URL from libpq's environment, so that the kept one means the same later.
database_url_take() {
    [[ -n ${GIVEN[CHECKOUT_DATABASE_URL]:-} ]] || return 0
    ((${#OWNER_URL} <= 3000)) || die "CHECKOUT_DATABASE_URL is longer than 3000 characters."
    SETTINGS[CHECKOUT_DATABASE_URL]=$(database_url_full) ||
        die "CHECKOUT_DATABASE_URL cannot be used: ${SETTINGS[CHECKOUT_DATABASE_URL]#*: }"
}

database_url_owner() {
    if database_is_private; then
        echo "postgresql://checkout_owner@/checkout?host=$RUN"
    else
        echo "$OWNER_URL"
    fi
}

# The same with passwords masked.
database_url_masked() {
    database_url_owner | url_masked
}

# Standard input without its passwords.
url_masked() {
    sed -E 's#^(postgres(ql)?://[^:@/]*):[^@/]*@#\1:***@#; s#([?&](ssl)?password=)[^&]*#\1***#g;
        s#(^|[[:space:]])((ssl)?password *= *)(\x27[^\x27]*\x27|[^[:space:]]*)#\1\2***#g'
}

# database_url_of ROLE: the URL of the same database for that service's role.
database_url_of() {
    local role=checkout_$1 url
    if database_is_private; then
        echo "postgresql://$role@/checkout?host=$RUN"
        return
    fi
    url=$(database_url_full "$role") || die "The URL of $role could not be made: $url"
    echo "${url/@/:$(sed -n "s/^$role = //p" "$STATE/keys/roles")@}"
}

# Random passwords for an outside database's service roles; made once.  The first line
# says whose the roles are: a second state would change the first one's passwords, so
# `checkoutctl migrate` refuses roles that belong to another.
database_roles_make() {
    local role file=$STATE/keys/roles
    ! database_is_private && [[ ! -s $file ]] || return 0
    echo "@owner = $(</proc/sys/kernel/random/uuid) $STATE on ${HOSTNAME:-this host}" >"$file.new"
    for role in "${ROLES[@]}"; do
        printf 'checkout_%s = %s\n' "$role" "$(od -An -N 24 -t x1 /dev/urandom | tr -d ' \n')"
    done >>"$file.new"
    mv "$file.new" "$file"
}

database_migrate() {
    local arguments=(--config "$STATE/keys/migrate.conf" migrate)
    database_is_private || arguments+=(--roles "$STATE/keys/roles")
    if ! patiently "$BIN/checkoutctl" "${arguments[@]}" >"$STATE/log/migrate.log" 2>&1; then
        if database_is_private; then
            die "The migrations failed: $(last_line "$STATE/log/migrate.log")"
        else
            die "The database of CHECKOUT_DATABASE_URL could not be prepared: $(last_line "$STATE/log/migrate.log")"
        fi
    fi
    database_is_private || database_url_masked >"$STATE/outside"
}

# --- the private cluster -----------------------------------------------------------

# cluster_find_programs FOLDER: sets PG_BIN to the programs of the version that made the cluster
# there, or for a new one to those of the newest that is installed.
cluster_find_programs() {
    local version=
    [[ ! -s $1/PG_VERSION ]] || version=$(<"$1/PG_VERSION")
    [[ $version =~ ^[0-9]*$ ]] || die "$1/PG_VERSION does not hold a version of PostgreSQL."
    # (find fails if that version has no folder; with set -e that would end us silently.)
    PG_BIN=$({ find "/usr/lib/postgresql/$version" -mindepth 2 -name initdb 2>/dev/null || true; } |
        sort -V | tail -n 1)
    PG_BIN=${PG_BIN%/initdb}
    [[ -n $PG_BIN ]] && return 0
    [[ -z $version ]] || die "$1 was made by PostgreSQL $version, which is not installed; install postgresql-$version, or move the data to the version that is (docs/upgrade.md)."
    die "There is no PostgreSQL in /usr/lib/postgresql; install the package postgresql."
}

# AS_DATABASE is the prefix that runs a command as the user of PostgreSQL, which refuses to run as
# root.  It can be exec'd or run in the background: $! is the command itself.
if ((EUID == 0)); then
    AS_DATABASE=(setpriv --reuid postgres --regid postgres --init-groups "${NO_CAPABILITIES[@]}")
else
    AS_DATABASE=()
fi

cluster_check_folder() {
    ((EUID != 0)) || id postgres >/dev/null 2>&1 ||
        die "There is no user postgres here, and PostgreSQL will not run as root."
    user_check_enter postgres "the database"
}

# Makes the cluster with owner and database: in postgres.new, then renamed, so it is complete or
# absent.  What an interrupted start left in postgres.new was never used and is deleted.
cluster_make() {
    local data=$STATE/postgres new=$STATE/postgres.new
    cluster_check_folder
    if [[ -e $data ]]; then
        [[ -s $data/PG_VERSION && -s $data/global/pg_control ]] ||
            die "$data is not a whole PostgreSQL cluster (PG_VERSION or pg_control is missing); restore it from a backup, or delete everything with: ./up --reset --state $STATE"
        cluster_find_programs "$data"
        return 0
    fi
    cluster_find_programs "$data"
    rm -rf "$new"
    mkdir -m 700 "$new"
    ((EUID != 0)) || chown postgres:postgres "$new"
    patiently "${AS_DATABASE[@]}" "$PG_BIN/initdb" -D "$new" -U postgres --encoding=UTF8 \
        --locale=C --data-checksums --auth=peer --no-sync >"$STATE/log/initdb.log" 2>&1 ||
        die "The database could not be initialised: $(last_line "$STATE/log/initdb.log")"
    cluster_configure "$new"
    cluster_make_owner "$new" >>"$STATE/log/initdb.log" 2>&1 ||
        die "The database's owner could not be created: $(last_line "$STATE/log/initdb.log")"
    # One sync at the end, of this folder alone.
    patiently "${AS_DATABASE[@]}" "$PG_BIN/initdb" --sync-only -D "$new" >>"$STATE/log/initdb.log" 2>&1 ||
        die "The database could not be written to disk: $(last_line "$STATE/log/initdb.log")"
    mv "$new" "$data"
}

# In single-user mode: no server has to run for it.  (CREATEROLE: the first migration
# creates the services' roles.)
cluster_make_owner() {
    printf '%s\n' "CREATE ROLE checkout_owner LOGIN CREATEROLE" \
        "CREATE DATABASE checkout OWNER checkout_owner" |
        "${AS_DATABASE[@]}" "$PG_BIN/postgres" --single -D "$1" postgres
}

# cluster_write FILE: writes standard input to the file as the user who owns the folder, so that
# root follows no link that this user may have put there.
cluster_write() {
    # shellcheck disable=SC2016
    "${AS_DATABASE[@]}" sh -c 'cat >"$1"' sh "$1"
}

# Settings and who may connect.  Rewritten at each start, so that an update of this tree reaches
# existing clusters.
cluster_configure() {
    local data=$1 role user
    {
        echo "# Unix users of the list in pg_ident.conf, as the role it gives them; no one else."
        echo "local all all peer map=checkout"
    } | cluster_write "$data/pg_hba.conf"
    {
        for user in $(printf '%s\n' root postgres "$(id -un)" | sort -u); do
            for role in postgres checkout_owner "${ROLES[@]/#/checkout_}"; do
                echo "checkout $user $role"
            done
        done
        ident_of_services
    } | cluster_write "$data/pg_ident.conf"
    cluster_write "$data/postgresql.conf" <"$REPO/deploy/postgresql.conf"
}

# A service's user may be only its own roles.
ident_of_services() {
    echo "checkout checkout-inventory checkout_inventory"
    echo "checkout checkout-payment checkout_payment"
    echo "checkout checkout-payment checkout_sandbox"
    echo "checkout checkout-orchestrator checkout_orders"
}

# Exec'd in a child of the supervisor.  PostgreSQL makes its socket in the services' folder.
cluster_exec() {
    local groups
    if ((EUID == 0)); then
        groups=$(id -G postgres)
        AS_DATABASE=("${AS_DATABASE[@]/--init-groups/--groups=${groups// /,},checkout}")
    fi
    exec setsid "${AS_DATABASE[@]}" setpriv --pdeathsig INT sh -c "$TIED" sh $$ \
        "$PG_BIN/postgres" -D "$STATE/postgres" -k "$RUN"
}

cluster_ready() {
    [[ -n ${PG_BIN:-} ]] || cluster_find_programs "$STATE/postgres"
    "$PG_BIN/pg_isready" -q -t 1 -h "$RUN" -U checkout_owner -d checkout
}
