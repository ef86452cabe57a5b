# state.sh - the state folder: its owner, lock, keys and configuration.
#
#     STATE/.checkout   the marker: only a folder that has it is ever written to or reset
#           lock        held by the one supervisor
#           postgres/   the private cluster           run/    the sockets
#           settings    what ./up was started with (settings.sh)
#           outside     there when an outside database is used, not postgres/: which one
#           keys/       who may call whom             conf/   written at each start
#           programs/   when root runs it: copies for the services to run
#           log/        one log a process         pids/   of what runs, and `ready`
#
# What takes several steps to make is made under another name and then renamed, so it is
# complete or absent.

JWT_ISSUER=checkout-development
JWT_AUDIENCE=checkout

state_names() {
    local longest="$STATE/run/orchestrator.sock"
    MARKER=$STATE/.checkout
    RUN=$STATE/run
    PIDS=$STATE/pids
    [[ $STATE =~ ^/[A-Za-z0-9/._+@-]+$ ]] ||
        die "The state folder \"$STATE\" has a character that socket addresses cannot hold; use letters, digits and / . _ + @ - only."
    ((${#longest} <= 107)) ||
        die "The state folder $STATE is too long a path: its socket $longest would have ${#longest} characters and 107 is the most."
}

state_is_ours() {
    [[ -f $MARKER ]]
}

# Exits with one sentence if we may not look into the state folder: then we must not report
# that something is missing.
state_check_visible() {
    local folder=$STATE
    while [[ $folder != / ]]; do
        [[ ! -d $folder || -x $folder ]] ||
            die "$(id -un) cannot enter $folder, which belongs to $(stat -c %U "$folder"); run ./up as that user or as root."
        folder=$(dirname "$folder")
    done
    ! state_is_ours || [[ -r $PIDS && -x $PIDS || ! -e $PIDS && -r $STATE ]] ||
        die "The state folder $STATE belongs to $(stat -c %U "$STATE"), and $(id -un) may not look into it; run ./up as that user or as root."
}

# Only the user who made it may run it: with files of two users neither could.
state_check_owner() {
    [[ ! -d $STATE || -O $STATE ]] ||
        die "The state folder $STATE belongs to $(stat -c %U "$STATE"); only that user can start it, not $(id -un)."
}

# Makes the folder, or refuses one that holds something else.  Its parents get the usual mode;
# the folder itself is readable by its owner alone.
state_claim() {
    local why
    if ! state_is_ours; then
        [[ ! -e $STATE || -d $STATE ]] || die "$STATE is not a folder; choose another --state."
        [[ -z $(ls -A "$STATE" 2>/dev/null) ]] ||
            die "$STATE is not empty and was not made by ./up (it has no .checkout); choose another --state or empty it."
        why=$( (umask 022 && mkdir -p "$STATE") 2>&1) ||
            die "The state folder $STATE cannot be made (${why##*: }); choose another --state."
        chmod 711 "$STATE"
        echo "A state folder of ./up; see docs/operations.md." >"$MARKER"
    fi
    [[ -w $STATE ]] || die "$STATE cannot be written to by $(id -un); it belongs to $(stat -c %U "$STATE")."
    mkdir -p "$RUN" "$PIDS" "$STATE/conf" "$STATE/log"
}

# One supervisor for each state folder: the lock is held while fd 9 is open.
state_lock() {
    exec 9>"$STATE/lock"
    flock -n 9 || state_is_busy
}

# Uses the programs that run here, whatever CHECKOUT_BUILD is by now.
state_programs() {
    local bin
    { read -r bin <"$PIDS/programs"; } 2>/dev/null || return 0
    [[ ! -x $bin/checkoutctl ]] || BIN=$bin
}

# Refuses a second start before checking what a running stack occupies, such as the port.
state_check_idle() {
    ! pid_file_read "$PIDS/up.pid" || state_is_busy
}

state_is_busy() {
    die "A stack is already running in $STATE; stop it with: ./up --stop --state $STATE"
}

# Deletes all of it, the marker last, so that an interrupted reset can be repeated.
state_reset() {
    [[ -e $STATE ]] || return 0
    state_is_ours || die "$STATE was not made by ./up (it has no .checkout), so it is not deleted."
    state_lock
    find "$STATE" -mindepth 1 -maxdepth 1 ! -name .checkout -exec rm -rf -- {} +
    rm -f "$MARKER"
    rmdir "$STATE" 2>/dev/null || true
    exec 9>&-
}

# --- keys --------------------------------------------------------------------------

KEY_NAMES=(gateway orchestrator inventory payment operator)

keys_make() {
    local name new=$STATE/keys.new keys=$STATE/keys
    if [[ -d $keys ]]; then
        keys_complete
        keys_add_gateway "$keys"
        keys_add_consumers "$keys"
        keys_add_webhook "$keys"
        return 0
    fi
    rm -rf "$new"
    mkdir -m 700 "$new"
    for name in "${KEY_NAMES[@]}"; do
        "$BIN/checkoutctl" key new "$name" --out "$new/$name.key" >/dev/null
    done
    for name in orchestrator inventory payment; do
        key_allow "$new" known_services "$name"
    done
    keys_allow_callers "$new"
    keys_add_gateway "$new"
    keys_add_consumers "$new"
    keys_add_webhook "$new"
    "$BIN/checkoutctl" key issuer --out "$new/jwt.key" --jwks "$new/jwks.json" >/dev/null
    mv "$new" "$keys"
}

# Who may call what: the whole list.
keys_allow_callers() {
    local keys=$1 service
    local orders=orders.v1.Orders inventory=inventory.v1.Inventory payment=payment.v1.Payment
    key_allow "$keys" orchestrator.callers gateway \
        "$orders/Place,$orders/GetOrder,$orders/ListOrders,$orders/PutCart,$orders/GetCart"
    key_allow "$keys" inventory.callers gateway "$inventory/ListProducts"
    key_allow "$keys" inventory.callers orchestrator \
        "$inventory/Reserve,$inventory/Confirm,$inventory/Release,$inventory/GetReservation"
    key_allow "$keys" payment.callers gateway "$payment/ListPaymentMethods"
    key_allow "$keys" payment.callers orchestrator \
        "$payment/Charge,$payment/Refund,$payment/GetCharge"
    for service in orchestrator inventory payment; do
        key_allow "$keys" "$service.callers" operator "*"
    done
}

# Who may ask for the gateway's health.  Also adds it to state folders of older releases.
keys_add_gateway() {
    grep -q "^gateway " "$1/known_services" || key_allow "$1" known_services gateway
    [[ -s $1/gateway.callers ]] || key_allow "$1" gateway.callers operator "*"
}

# Who reads events: the webhook sender, and programs that use consumer.key.  Also adds them to
# state folders of older releases.
keys_add_consumers() {
    local name
    for name in webhook consumer; do
        [[ -s $1/$name.key ]] ||
            "$BIN/checkoutctl" key new "$name" --out "$1/$name.key" >/dev/null
        # Keeps a line that an operator has changed.
        grep -q "^$name " "$1/orchestrator.callers" ||
            key_allow "$1" orchestrator.callers "$name" \
                "events.v1.Events/Read,events.v1.Events/Commit"
    done
}

# Who may ask for the webhook sender's health; its key comes from keys_add_consumers.
keys_add_webhook() {
    grep -q "^webhook " "$1/known_services" || key_allow "$1" known_services webhook
    [[ -s $1/webhook.callers ]] || key_allow "$1" webhook.callers operator "*"
}

# key_allow KEYS FILE NAME [METHODS]: adds the public half of NAME's key to FILE.
key_allow() {
    local public
    public=$(sed -n 's/^public *= *//p' "$1/$3.key")
    "$BIN/checkoutctl" key allow "$1/$2" "$3" "$public" "${@:4}"
}

keys_complete() {
    local file
    for file in "${KEY_NAMES[@]/%/.key}" jwt.key jwks.json known_services \
        orchestrator.callers inventory.callers payment.callers; do
        [[ -s $STATE/keys/$file ]] ||
            die "$STATE/keys lacks $file; put it back, or delete that folder and start again: no order is lost, but new keys are made and tokens already given out end."
    done
}

# --- configuration -----------------------------------------------------------------

# conf_write PROGRAM: its settings from standard input.
conf_write() {
    local file=$STATE/conf/$1.conf
    {
        echo "# Written by ./up at each start.  To change a setting, set the environment"
        echo "# variable CHECKOUT_${1^^}_SETTING for ./up instead."
        conf_overlay "$1"
    } >"$file.new"
    mv -f "$file.new" "$file"
}

# Standard input, with the settings that were given for the program replaced.
conf_overlay() {
    local line given
    given=$(settings_of "$1")
    while read -r line; do
        grep -q "^${line%% = *} = " <<<"$given" || printf '%s\n' "$line"
    done
    [[ -z $given ]] || printf '%s\n' "$given"
}

# Whether this run sends webhooks: it does if there were endpoints at its start.
webhook_configured() {
    [[ -n $(conf_read webhook endpoints_file) ]]
}

conf_read() {
    sed -n "s/^$2 = //p" "$STATE/conf/$1.conf" 2>/dev/null
}

# The demo page's session, for anybody who opens the page on this machine.  The token lies beside
# the key that signs such tokens.
demo_session_make() {
    "$BIN/checkoutctl" token --user "$DEMO_USER" --ttl 31536000 >"$STATE/keys/demo.jwt.new"
    mv -f "$STATE/keys/demo.jwt.new" "$STATE/keys/demo.jwt"
}

conf_write_all() {
    local keys=$STATE/keys name
    conf_write_migrate
    local addresses="orchestrator_addresses = ipc://$RUN/orchestrator.sock
inventory_addresses = ipc://$RUN/inventory.sock"
    for name in inventory payment orchestrator; do
        conf_write_service "$name" "$keys"
    done
    conf_write gateway <<END
log_format = $LOG_FORMAT
listen_address = 127.0.0.1
port = $PORT
rpc_url = ipc://$RUN/gateway.sock
callers_file = $keys/gateway.callers
key_file = $keys/gateway.key
services_file = $keys/known_services
$addresses
payment_addresses = ipc://$RUN/payment.sock
jwks_file = $keys/jwks.json
jwt_issuer = $JWT_ISSUER
jwt_audience = $JWT_AUDIENCE
storefront_dir = $STOREFRONT
demo_token_file = $keys/demo.jwt
END
    {
        echo "log_format = $LOG_FORMAT"
        echo "orchestrator_addresses = ipc://$RUN/orchestrator.sock"
        echo "key_file = $keys/webhook.key"
        echo "rpc_url = ipc://$RUN/webhook.sock"
        echo "callers_file = $keys/webhook.callers"
        echo "services_file = $keys/known_services"
        # Without these two it is not started (webhook_configured).
        ! grep -qsv '^[[:space:]]*\(#\|$\)' "$STATE/webhook/endpoints" || {
            echo "endpoints_file = $STATE/webhook/endpoints"
            echo "state_dir = $STATE/webhook"
        }
    } | conf_write webhook
    conf_write checkoutctl <<END
key_file = $keys/operator.key
services_file = $keys/known_services
$addresses
payment_addresses = ipc://$RUN/payment.sock
gateway_addresses = ipc://$RUN/gateway.sock
$(! webhook_configured || echo "webhook_addresses = ipc://$RUN/webhook.sock")
$(! database_is_private || echo "database_url = $(database_url_owner)")
migrations_dir = $REPO/migrations
webhook_dir = $STATE/webhook
jwt_key_file = $keys/jwt.key
jwt_issuer = $JWT_ISSUER
jwt_audience = $JWT_AUDIENCE
END
}

# For the migrator alone.  Made in a folder that others cannot look into.
conf_write_migrate() {
    local file=$STATE/keys/migrate.conf
    printf '%s\n' "database_url = $(database_url_owner)" \
        "migrations_dir = $REPO/migrations" >"$file.new"
    mv -f "$file.new" "$file"
}

# conf_write_service NAME KEYS: for a service that listens on RPC and has a database.
conf_write_service() {
    local name=$1 keys=$2
    {
        echo "log_format = $LOG_FORMAT"
        echo "listen_url = ipc://$RUN/$name.sock"
        echo "key_file = $keys/$name.key"
        echo "callers_file = $keys/$name.callers"
        case $name in
        inventory) echo "database_url = $(database_url_of inventory)" ;;
        payment)
            echo "database_url = $(database_url_of payment)"
            echo "provider_database_url = $(database_url_of sandbox)"
            ;;
        orchestrator)
            echo "database_url = $(database_url_of orders)"
            echo "services_file = $keys/known_services"
            echo "inventory_addresses = ipc://$RUN/inventory.sock"
            echo "payment_addresses = ipc://$RUN/payment.sock"
            echo "events_url = ipc://$RUN/events.sock"
            [[ -z $NATS_URL ]] || echo "nats_url = $NATS_URL"
            ;;
        esac
    } | conf_write "$name"
}
