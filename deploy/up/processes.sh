# processes.sh - the supervisor: starts the stack, starts again what dies, stops it all.
#
#     postgres -> migrate -> inventory, payment, orchestrator, gateway -> webhook -> ready
#     and back:   webhook -> gateway -> orchestrator -> payment -> inventory -> postgres
#
# The webhook sender runs only with endpoints to send to.
#
# Every process is a child of the supervisor, in a session of its own, so that Ctrl-C in
# the terminal reaches the supervisor alone and the order above holds.  If the supervisor
# itself is killed, the kernel ends its children (pdeathsig): nothing outlives it.

SERVICES=(inventory payment orchestrator gateway)
PROCESSES=() # what this run starts, in order
declare -A PID=() BORN=() DELAY=() DUE=()
STARTING='' BEFORE='' # the process that is being started, and the child before it

# Run by a child as `sh -c "$TIED" sh SUPERVISOR COMMAND...`, when pdeathsig is set: had the
# supervisor ended before that, nobody would ever tell the child.
TIED='[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'

LOG_FORMAT=${CHECKOUT_LOG_FORMAT:-logfmt}
LOG_BYTES=${CHECKOUT_LOG_BYTES:-$((64 << 20))}
STOP_SECONDS=${CHECKOUT_STOP_SECONDS:-30} # for all of them together
STOP_BY_MS=0                              # when those are over; 0: nothing is stopping

LOOK_EVERY_MS=200
RESTART_FIRST_MS=100
RESTART_MOST_MS=5000
RESTART_CALM_MS=10000 # ran this long: the next delay is the first again

# --- starting ----------------------------------------------------------------------

process_start() {
    local name=$1 log=$STATE/log/$1.log
    STARTING=$name BEFORE=${!:-}
    if [[ $name == postgres ]]; then
        cluster_exec </dev/null >>"$log" 2>&1 7>&- 8>&- 9>&- &
    else
        exec_service "$name" </dev/null >>"$log" 2>&1 7>&- 8>&- 9>&- &
    fi
    process_started
}

# Takes the child that STARTING names into the books.  A signal may end the start between
# the two, so the way out calls this as well.
process_started() {
    [[ -n $STARTING && ${!:-} != "$BEFORE" ]] || return 0
    PID[$STARTING]=$!
    now_ms
    BORN[$STARTING]=$REPLY
    DUE[$STARTING]=
    pid_file_write "$PIDS/$STARTING.pid" "$!"
    STARTING=
}

exec_service() {
    unset CHECKOUT_DATABASE_URL CHECKOUT_NATS_URL # not for all of them
    exec setsid setpriv --pdeathsig TERM sh -c "$TIED" sh $$ \
        "$BIN/$1" --config "$STATE/conf/$1.conf"
}

# Moves what a log holds to LOG.1 once that is past LOG_BYTES, so that a process has at
# most twice that and what it says in a second.
logs_bound() {
    local size log
    while read -r size log; do
        ((size < LOG_BYTES)) || log_cut "$log" "$size" || true
    done <<<"$(stat -c '%s %n' "$STATE"/log/*.log 2>/dev/null)"
}

# log_cut LOG SIZE: its processes go on appending meanwhile.  The file system takes the
# whole blocks off the front in one step, so no line is lost; one line may begin in LOG.1
# and end in LOG.  Where it cannot (tmpfs), the log is copied and emptied, and what is
# said in the instant between is lost.
log_cut() {
    local log=$1 size=$2 block whole
    block=$(stat -f -c %S "$log")
    whole=$(((size - 1) / block * block))
    if ((whole > 0)) && head -c "$whole" "$log" >"$log.1.new" &&
        fallocate --collapse-range --offset 0 --length "$whole" "$log"; then
        mv -f "$log.1.new" "$log.1"
    elif cp "$log" "$log.1.new"; then
        : >"$log"
        mv -f "$log.1.new" "$log.1"
    else
        rm -f "$log.1.new" # the disk is full; later, then
    fi
} 2>/dev/null

last_line() {
    grep -v '^[[:space:]]*$' "$1" 2>/dev/null | tail -n 1
}

# await NAME SECONDS CHECK...: until the check succeeds; ends everything when the process
# dies first or the time is up.
await() {
    local name=$1 limit
    now_ms
    limit=$((REPLY + $2 * 1000))
    while :; do
        process_identity "${PID[$name]}" ||
            die "$name ended while starting: $(last_line "$STATE/log/$name.log")"
        ! "${@:3}" >/dev/null 2>&1 || return 0
        now_ms
        ((REPLY < limit)) ||
            die "$name was not ready within $2 s: $(last_line "$STATE/log/$name.log")"
        nap 0.05
    done
}

service_ready() {
    if [[ $1 == webhook ]]; then
        # It serves nobody; it has its lock open when it has read its endpoints.
        pid_file_read "$PIDS/webhook.pid" &&
            [[ -n $(find "/proc/$REPLY/fd" -lname '*/webhook/lock' 2>/dev/null) ]]
    elif [[ $1 == gateway ]]; then
        curl --noproxy '*' -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$PORT/healthz"
    else
        "$BIN/checkoutctl" call --service "$1" --max-time 2 rpc.v1.Health/Check | grep -qw SERVING
    fi
}

port_check() {
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
        die "Port $PORT is taken by another program; choose another with --port."
    fi
}

# What a supervisor that was killed has left is told to end by the kernel; wait for that.
leftovers_end() {
    local name
    rm -f "$PIDS/ready"
    STOP_BY_MS=0
    for name in webhook gateway orchestrator payment inventory postgres; do
        process_stop "$name"
    done
}

stack_start() {
    local name
    port_check
    keys_make
    database_roles_make
    conf_write_all
    demo_session_make
    if database_is_private; then
        cluster_make
        cluster_configure "$STATE/postgres"
        PROCESSES=(postgres)
        process_start postgres
        await postgres 300 cluster_ready
    fi
    database_migrate
    PROCESSES+=("${SERVICES[@]}")
    for name in "${SERVICES[@]}"; do
        process_start "$name"
    done
    for name in "${SERVICES[@]}"; do
        await "$name" 60 service_ready "$name"
    done
    demo_load
    if webhook_configured; then
        PROCESSES+=(webhook)
        process_start webhook
        await webhook 60 service_ready webhook
    fi
}

# --- keeping it up -----------------------------------------------------------------

# Returns never; a signal ends it through the traps.
supervise() {
    local name
    while :; do
        LOOK_AGAIN_MS=1000
        for name in "${PROCESSES[@]}"; do
            process_keep "$name"
        done
        logs_bound
        await_end "$LOOK_AGAIN_MS"
    done
}

# await_end MILLISECONDS: until one of the processes ends, or so long; looks every
# LOOK_EVERY_MS.
#
# bash 5.2 could tell, but neither way is sound.  `wait -n` overlooks what ends between its
# look and its wait (wait_for_any_job), and then waits for the next, perhaps for ever.  A
# trap for CHLD that falls into the reading of a $(...) ends the script with a syntax error.
await_end() {
    local left by seconds
    now_ms
    by=$((REPLY + $1))
    until any_ended; do
        now_ms
        left=$((by - REPLY))
        ((left > 0)) || return 0
        ((left < LOOK_EVERY_MS)) || left=$LOOK_EVERY_MS
        printf -v seconds '0.%03d' "$left"
        sleep "$seconds" 7>&- 8>&- 9>&- &
        BUSY=$!
        wait "$BUSY" 2>/dev/null || true
        BUSY=
    done
}

# Whether one has ended and is not yet known to have.
any_ended() {
    local name
    for name in "${PROCESSES[@]}"; do
        [[ -n ${DUE[$name]} ]] || process_identity "${PID[$name]}" || return 0
    done
    return 1
}

# Notices that it died, or starts it again when that is due.
process_keep() {
    local name=$1 left
    now_ms
    if [[ -n ${DUE[$name]} ]]; then
        left=$((DUE[$name] - REPLY))
        if ((left <= 0)); then
            process_start "$name"
        elif ((left < LOOK_AGAIN_MS)); then
            LOOK_AGAIN_MS=$left
        fi
    elif ! process_identity "${PID[$name]}"; then
        process_died "$name"
    elif [[ ! -e $PIDS/$name.pid ]]; then
        pid_file_write "$PIDS/$name.pid" "${PID[$name]}"
    fi
}

process_died() {
    local name=$1 status=0 delay how
    wait "${PID[$name]}" 2>/dev/null || status=$?
    ((status > 128)) && how="killed by signal $((status - 128))" || how="exit status $status"
    now_ms
    delay=$((${DELAY[$name]:-0} * 2))
    ((delay > 0 && REPLY - BORN[$name] < RESTART_CALM_MS)) || delay=$RESTART_FIRST_MS
    ((delay <= RESTART_MOST_MS)) || delay=$RESTART_MOST_MS
    DELAY[$name]=$delay
    DUE[$name]=$((REPLY + delay))
    ((delay >= LOOK_AGAIN_MS)) || LOOK_AGAIN_MS=$delay
    rm -f "$PIDS/$name.pid"
    say "$name ended ($how); starting it again in $delay ms. Its last line: $(last_line "$STATE/log/$name.log")"
}

# --- stopping ----------------------------------------------------------------------

# process_stop NAME: asks it to end, and makes it when it has not ended in time.  The time
# is for all together: a gateway that waits for its last answers takes most of it, and a
# third is kept for PostgreSQL.  Killed, PostgreSQL repairs itself when it starts again.
process_stop() {
    local left third=$((STOP_SECONDS / 3))
    now_ms
    ((STOP_BY_MS > 0)) || STOP_BY_MS=$((REPLY + STOP_SECONDS * 1000))
    left=$(((STOP_BY_MS - REPLY) / 1000))
    if [[ $1 == postgres ]]; then
        end_process "$PIDS/$1.pid" INT $((left > third ? left : third))
    else
        left=$((left - third))
        end_process "$PIDS/$1.pid" TERM $((left > 1 ? left : 1))
    fi
}

# The EXIT trap of the supervisor: whatever was started, in reverse, then the lock.
stack_stop() {
    local i name
    STOP_BY_MS=0
    for ((i = ${#PROCESSES[@]} - 1; i >= 0; i--)); do
        name=${PROCESSES[i]}
        [[ -n ${PID[$name]:-} ]] || continue
        [[ -e $PIDS/$name.pid ]] || pid_file_write "$PIDS/$name.pid" "${PID[$name]}"
        process_stop "$name"
    done
    rm -f "$PIDS/ready" "$PIDS/up.pid"
}
