# database.sh - the database: a private PostgreSQL cluster, or the one of
# CHECKOUT_DATABASE_URL.  Either way `checkoutctl migrate` makes what is inside.
#
# The private cluster listens on STATE/run/.s.PGSQL.5432 alone and knows its clients by
# their Unix user (peer), so it has no passwords at all.  An outside database gets one
# random password a service role, kept in STATE/keys/roles.

ROLES=(inventory payment orders sandbox)

database_is_private() {
    [[ -z ${CHECKOUT_DATABASE_URL:-} ]]
}

# What others have set for their own databases must not lead ours astray; an outside
# database may need it (PGSSLROOTCERT, PGPASSFILE).  URLs that come from a file may end in a
# line end, which would break the configuration in two.
database_environment() {
    local name
    for name in CHECKOUT_DATABASE_URL CHECKOUT_NATS_URL; do
        [[ ! ${!name:-} =~ ^[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]] ||
            printf -v "$name" '%s' "${BASH_REMATCH[1]}"
    done
    # libpq and PostgreSQL's programs read what begins with PG, more with each version.
    # shellcheck disable=SC2046 # names have no blanks
    ! database_is_private || unset $(compgen -e PG)
}

# A state is made for one kind of database and stays with it: its orders are in there.
database_check_kind() {
    if database_is_private && [[ -e $STATE/outside && ! -e $STATE/postgres ]]; then
        die "$STATE was made with an outside database, and CHECKOUT_DATABASE_URL is not set; set it, or choose another --state."
    elif ! database_is_private && [[ -e $STATE/postgres ]]; then
        die "$STATE was made with a private PostgreSQL cluster, so CHECKOUT_DATABASE_URL must not be set; unset it, or choose another --state."
    fi
}

database_url_owner() {
    if database_is_private; then
        echo "postgresql://checkout_owner@/checkout?host=$RUN"
    else
        echo "$CHECKOUT_DATABASE_URL"
    fi
}

# database_url_of ROLE: the same database as that service's role.  libpq takes the last
# of two values for one parameter, in a URL's query as in a keyword string, so the
# owner's user and password need not be found and cut out.
database_url_of() {
    local role=checkout_$1 url=${CHECKOUT_DATABASE_URL:-} password rest
    if database_is_private; then
        echo "postgresql://$role@/checkout?host=$RUN"
        return
    fi
    password=$(sed -n "s/^$role = //p" "$STATE/keys/roles")
    case $url in
    postgres://* | postgresql://*)
        # A '?' in the user or password is no separator: look behind the '@'.
        rest=${url#*://}
        [[ ${rest%%/*} != *@* ]] || rest=${rest#*@}
        [[ $rest == *\?* ]] && url+='&' || url+='?'
        echo "${url}user=$role&password=$password"
        ;;
    *) echo "$url user=$role password=$password" ;;
    esac
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
    local arguments=(migrate)
    database_is_private || arguments+=(--roles "$STATE/keys/roles")
    if ! patiently "$BIN/checkoutctl" "${arguments[@]}" >"$STATE/log/migrate.log" 2>&1; then
        if database_is_private; then
            die "The migrations failed: $(last_line "$STATE/log/migrate.log")"
        else
            die "The database of CHECKOUT_DATABASE_URL could not be prepared: $(last_line "$STATE/log/migrate.log")"
        fi
    fi
    database_is_private || : >"$STATE/outside"
}

# --- the private cluster -----------------------------------------------------------

# Sets PG_BIN: the programs of the version that made the cluster, or for a new one those of
# the newest that is installed.
cluster_find_programs() {
    local version=
    [[ ! -s $STATE/postgres/PG_VERSION ]] || version=$(<"$STATE/postgres/PG_VERSION")
    PG_BIN=$(find "/usr/lib/postgresql/$version" -mindepth 2 -name initdb 2>/dev/null |
        sort -V | tail -n 1)
    PG_BIN=${PG_BIN%/initdb}
    [[ -n $PG_BIN ]] && return 0
    [[ -z $version ]] || die "$STATE/postgres was made by PostgreSQL $version, which is not installed; install postgresql-$version, or move the cluster over with pg_upgrade."
    die "There is no PostgreSQL in /usr/lib/postgresql; install the package postgresql."
}

# as_database COMMAND...: as the user PostgreSQL runs as; it refuses to be root.  To be
# exec'd or run in the background as it is, so that $! is the command itself.
if ((EUID == 0)); then
    AS_DATABASE=(setpriv --reuid postgres --regid postgres --init-groups)
else
    AS_DATABASE=()
fi

cluster_check_folder() {
    local folder=$STATE closed=$STATE
    ((EUID == 0)) || return 0
    id postgres >/dev/null 2>&1 || die "There is no user postgres here, and PostgreSQL will not run as root."
    ! "${AS_DATABASE[@]}" test -x "$STATE" || return 0
    # Name the outermost folder that is closed: that is the one to open.
    while [[ $folder != / ]]; do
        "${AS_DATABASE[@]}" test -x "$folder" || closed=$folder
        folder=$(dirname "$folder")
    done
    die "User postgres, which the database runs as, cannot enter $closed; allow it with: chmod o+x $closed - or choose another --state."
}

# The cluster with owner and database, complete or not there: made in postgres.new, then
# renamed.  What an interrupted start left in postgres.new was never used: start over.
cluster_make() {
    local data=$STATE/postgres new=$STATE/postgres.new
    cluster_check_folder
    if [[ -e $data ]]; then
        [[ -s $data/PG_VERSION && -s $data/global/pg_control ]] ||
            die "$data is not a whole PostgreSQL cluster (PG_VERSION or pg_control is missing); restore it from a backup, or delete everything with: ./up --reset --state $STATE"
        cluster_find_programs
        return 0
    fi
    cluster_find_programs
    rm -rf "$new"
    mkdir -m 700 "$new"
    ((EUID != 0)) || chown postgres:postgres "$new"
    patiently "${AS_DATABASE[@]}" "$PG_BIN/initdb" -D "$new" -U postgres --encoding=UTF8 \
        --locale=C --data-checksums --auth=peer --no-sync >"$STATE/log/initdb.log" 2>&1 ||
        die "The database could not be initialised: $(last_line "$STATE/log/initdb.log")"
    cluster_configure "$new"
    cluster_make_owner "$new" >>"$STATE/log/initdb.log" 2>&1 ||
        die "The database's owner could not be created: $(last_line "$STATE/log/initdb.log")"
    # Once, when all is in it, and not everything else that waits for this disk.
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

# Settings and who may connect; the same files at each start, so that an update of this
# tree reaches clusters made before.
cluster_configure() {
    local data=$1 role user
    {
        echo "# Unix users of the list in pg_ident.conf, as the role it gives them; no one else."
        echo "local all all peer map=checkout"
    } >"$data/pg_hba.conf"
    for user in $(printf '%s\n' root postgres "$(id -un)" | sort -u); do
        for role in postgres checkout_owner "${ROLES[@]/#/checkout_}"; do
            echo "checkout $user $role"
        done
    done >"$data/pg_ident.conf"
    cp "$REPO/deploy/postgresql.conf" "$data/postgresql.conf"
    ((EUID != 0)) || chown postgres:postgres "$data"/{pg_hba,pg_ident,postgresql}.conf
    # PostgreSQL makes its socket in there, but may not touch the others'.
    ((EUID != 0)) || chown root:postgres "$RUN"
    chmod 1771 "$RUN"
}

# Exec'd in a child of the supervisor.
cluster_exec() {
    exec setsid "${AS_DATABASE[@]}" setpriv --pdeathsig INT sh -c "$TIED" sh $$ \
        "$PG_BIN/postgres" -D "$STATE/postgres" -k "$RUN"
}

cluster_ready() {
    [[ -n ${PG_BIN:-} ]] || cluster_find_programs
    "$PG_BIN/pg_isready" -q -t 1 -h "$RUN" -U checkout_owner -d checkout
}
