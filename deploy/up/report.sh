# report.sh - the demo catalogue, what is printed when ready, and --status.

DEMO_USER=00000000-0000-4000-8000-000000000001

# sku, price in cents, pieces, title
DEMO_PRODUCTS=(
    "mug-blue        1290  5000  Mug, blue"
    "mug-white       1190  5000  Mug, white"
    "teapot          3450  1000  Teapot, 1.2 litres"
    "tea-assam        890  8000  Assam tea, 250 g"
    "tea-sencha      1150  8000  Sencha tea, 200 g"
    "strainer         490  3000  Tea strainer, steel"
    "kettle          5900   500  Kettle with thermometer"
    "tea-first-flush 4200     3  Darjeeling first flush, 100 g, the last three"
)

# demo_wanted: what --demo or --no-demo say; without them, only for a private cluster.
demo_wanted() {
    [[ $DEMO == yes ]] || { [[ -z $DEMO ]] && database_is_private; }
}

# Once for each state folder.  Each call is idempotent, so an interrupted start does no harm.
demo_load() {
    local sku price pieces title row
    demo_wanted && [[ ! -e $STATE/.demo ]] || return 0
    for row in "${DEMO_PRODUCTS[@]}"; do
        read -r sku price pieces title <<<"$row"
        demo_call PutProduct \
            "{\"sku\":\"$sku\",\"title\":\"$title\",\"price_cents\":$price,\"currency\":\"EUR\"}"
        demo_call AdjustStock \
            "{\"sku\":\"$sku\",\"delta\":$pieces,\"reason\":\"demo catalogue\",\"adjustment_id\":\"demo-$sku\"}"
    done
    : >"$STATE/.demo"
}

demo_call() {
    patiently "$BIN/checkoutctl" call "inventory.v1.Inventory/$1" "$2" >"$STATE/log/demo.log" 2>&1 ||
        die "The demo catalogue could not be loaded: $(last_line "$STATE/log/demo.log")"
}

ready_print() {
    local url ctl="$BIN/checkoutctl --state $STATE"
    url=$(gateway_url)
    cat <<END

Ready: $url    (stop: $(ready_how_to_stop); logs: $STATE/log)

END
    if demo_wanted; then
        ready_print_demo "$url" "$ctl"
    else
        cat <<END
Open it in a browser: a shop without products.  To put one in:

  $ctl products put SKU --title TITLE --price CENTS --currency EUR && $ctl stock adjust SKU PIECES --reason delivery

END
    fi
}

ready_print_demo() {
    local url=$1 ctl=$2 curl="curl --noproxy '*' -sS"
    [[ $url != https:* ]] || curl+=" -k" # the certificate may be of another name
    cat <<END
Open it in a browser: a small shop.  Or fill a cart and order it here:

  id=\$(cat /proc/sys/kernel/random/uuid) token=\$($ctl token --user $DEMO_USER); $curl -X PUT $url/v1/carts/\$id -H "Authorization: Bearer \$token" -H 'Content-Type: application/json' -d '{"lines":[{"sku":"mug-blue","quantity":2},{"sku":"tea-assam","quantity":1}]}' --next ${curl#curl } -X POST $url/v1/orders -H "Authorization: Bearer \$token" -H "Idempotency-Key: \$id" -H 'Content-Type: application/json' -d '{"cart_id":"'\$id'","payment_method_id":"pm_card_visa"}'

Show the newest order:

  $ctl orders show "\$($ctl call orders.v1.Orders/ListOrders '{"user_id":"$DEMO_USER","limit":1}' | grep -oE '[0-7][0-9A-HJKMNP-TV-Z]{25}' | head -n 1)"

END
}

ready_how_to_stop() {
    if ((DETACH)); then
        echo "./up --stop --state $STATE"
    else
        echo "Ctrl-C"
    fi
}

# --- status ------------------------------------------------------------------------

# The health of each process, one line each: "NAME STATE WHY" (checkoutctl health).
HEALTH=

# Prints key=value lines; succeeds only when everything is ready.
status_print() {
    local name word state why
    if state_is_ours && pid_file_read "$PIDS/up.pid"; then
        HEALTH=$("$BIN/checkoutctl" health 2>/dev/null) || true
    fi
    word=$(status_word)
    printf 'state=%s\n' "$word"
    printf 'gateway=%s\n' "$(gateway_url)"
    printf 'database=%s\n' "$(status_database)"
    for name in gateway orchestrator inventory payment postgres webhook; do
        [[ $name != webhook ]] || webhook_configured || continue
        pid_file_read "$PIDS/$name.pid" || REPLY=
        printf 'pid.%s=%s\n' "$name" "$REPLY"
    done
    while read -r name state why; do
        [[ -z $name ]] || printf 'health.%s=%s\n' "$name" "$state${why:+ $why}"
    done <<<"$HEALTH"
    [[ $word == ready ]]
}

# Without passwords.
status_database() {
    local url
    url=$(conf_read checkoutctl database_url)
    [[ -n $url || ! -e $STATE/outside ]] || url=$(<"$STATE/outside")
    url_masked <<<"$url"
}

# "ready", or what is missing.
status_word() {
    local name expected=("${SERVICES[@]}")
    ! webhook_configured || expected+=(webhook)
    state_is_ours || { echo "nothing was ever started in $STATE"; return; }
    pid_file_read "$PIDS/up.pid" || { echo "stopped"; return; }
    [[ $(conf_read checkoutctl database_url) != *"host=$RUN"* ]] || expected=(postgres "${expected[@]}")
    for name in "${expected[@]}"; do
        pid_file_read "$PIDS/$name.pid" || { echo "$name is not running"; return; }
    done
    if [[ ${expected[0]} == postgres ]] && ! cluster_ready; then
        echo "postgres is not ready"
        return
    fi
    for name in "${expected[@]}"; do
        [[ $name != postgres ]] || continue
        health_is_well "$name" || return 0
    done
    service_ready gateway >/dev/null 2>&1 || { echo "gateway is not ready"; return; }
    [[ -e $PIDS/ready ]] || { echo "starting"; return; }
    echo ready
}

# health_is_well NAME: succeeds if it is serving, else prints the reason.
health_is_well() {
    local name state why
    while read -r name state why; do
        [[ $name == "$1" ]] || continue
        [[ $state != SERVING ]] || return 0
        echo "$name is not ready: $state${why:+, $why}"
        return 1
    done <<<"$HEALTH"
    echo "$1 is not ready"
    return 1
}
