# processes.sh - the supervisor: starts the stack, restarts processes that die or hang, and
# stops everything.
#
#     postgres -> migrate -> inventory, payment, orchestrator, gateway -> webhook -> ready
#     and back:   webhook -> gateway -> orchestrator -> payment -> inventory -> postgres
#
# The webhook sender runs only with endpoints to send to.
#
# The supervisor sleeps until the program watcher reports that a process has ended or hangs
# (watcher/main.c).
#
# Every process is a child of the supervisor, in a session of its own, so that Ctrl-C in
# the terminal reaches the supervisor alone and the order above holds.  If the supervisor
# itself is killed, the kernel ends its children (pdeathsig): nothing outlives it.

SERVICES=(inventory payment orchestrator gateway)
PROCESSES=() # what this run starts, in order
declare -A PID=() BORN=() DELAY=() DUE=() ADDRESS=()
STARTING='' BEFORE='' # the process that is being started, and the child before it

# Run by a child as `sh -c "$TIED" sh SUPERVISOR COMMAND...`, after pdeathsig is set: if the
# supervisor ended before that, the child gets no signal, so it checks its parent.
# shellcheck disable=SC2016 # that shell expands it
TIED='[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'

STOP_BY_MS=0 # when the seconds to stop in, for all of them, are over; 0: nothing is stopping

LOOK_EVERY_MS=3600000
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

# Records the pid of the child that STARTING names.  A signal may interrupt a start before it is
# recorded, so leave() calls this as well.
process_started() {
    [[ -n $STARTING && ${!:-} != "$BEFORE" ]] || return 0
    PID[$STARTING]=$!
    ADDRESS[$STARTING]=$(process_address "$STARTING")
    now_ms
    BORN[$STARTING]=$REPLY
    DUE[$STARTING]=
    pid_file_write "$PIDS/$STARTING.pid" "$!"
    STARTING=
}

# process_address NAME: the address at which the watcher greets it; empty: not greeted.
process_address() {
    case $1 in
    postgres) echo "postgresql://$RUN" ;;
    gateway) conf_read gateway rpc_url ;;
    *) conf_read "$1" listen_url ;;
    esac
}

exec_service() {
    as_user "$1"
    # pdeathsig last: a change of user clears it.
    exec setsid "${AS[@]}" setpriv --pdeathsig TERM sh -c "$TIED" sh $$ \
        "$PROGRAMS_DIR/$1" --config "$STATE/conf/$1.conf"
}

# Moves a log's contents to LOG.1 once they exceed LOG_BYTES, so that a process has at most twice
# that on disk, plus what it writes in a second.
logs_bound() {
    local size log
    while read -r size log; do
        ((size < LOG_BYTES)) || log_cut "$log" "$size" || true
    done <<<"$(stat -c '%s %n' "$STATE"/log/*.log 2>/dev/null)"
}

# log_cut LOG SIZE: processes append to it meanwhile.  The file system removes whole blocks from
# the front in one step, so no line is lost; one line may begin in LOG.1 and end in LOG.  Where
# that is impossible (tmpfs), the log is copied and truncated, and lines written in between are
# lost.
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

# await NAME SECONDS CHECK...: waits until the check succeeds; exits if the process dies first or
# the time is up.
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
    if [[ $1 == gateway ]]; then
        # -k: its certificate is for the shop's name, and this is its own address.
        curl --noproxy '*' -kfsS -o /dev/null --max-time 2 "$(gateway_url)/healthz"
    else
        "$BIN/checkoutctl" call --service "$1" --max-time 2 rpc.v1.Health/Check | grep -qw SERVING
    fi
}

# gateway_host ADDRESS: the host by which this machine reaches a server that listens there.
gateway_host() {
    case $1 in
    '' | 0.0.0.0) echo 127.0.0.1 ;;
    ::) echo ::1 ;;
    *) echo "$1" ;;
    esac
}

# From its configuration; empty when there is none yet.
gateway_url() {
    local scheme=http host port
    port=$(conf_read gateway port)
    [[ -n $port ]] || return 0
    host=$(gateway_host "$(conf_read gateway listen_address)")
    [[ $host != *:* ]] || host="[$host]"
    [[ -z $(conf_read gateway tls_cert_file) ]] || scheme=https
    echo "$scheme://$host:$port"
}

port_check() {
    local host port=${SETTINGS[CHECKOUT_GATEWAY_PORT]:-$PORT}
    host=$(gateway_host "${SETTINGS[CHECKOUT_GATEWAY_LISTEN_ADDRESS]:-}")
    if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then
        die "Port $port is taken by another program; choose another with --port."
    fi
}

# The kernel signals the children of a killed supervisor; waits until they have ended.
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
    users_make
    user_check_enter checkout-gateway "the gateway"
    programs_install
    keys_make
    database_roles_make
    conf_write_all
    demo_session_make
    users_own
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

# --- supervising -------------------------------------------------------------------

# Never returns; a signal ends it through the traps.
supervise() {
    local name
    while :; do
        LOOK_AGAIN_MS=$LOOK_EVERY_MS
        for name in "${PROCESSES[@]}"; do
            process_keep "$name"
        done
        logs_bound
        any_ended || await_need "$LOOK_AGAIN_MS"
    done
}

# await_need MILLISECONDS: until one of the processes ends, hangs or has a long log, or so
# long, when the watcher sees no reason to stay.  What hangs is killed; it is started again
# like what ends.
#
# The watcher is waited for by its number, for neither of bash 5.2's ways to wait for all is
# sound: `wait -n` overlooks what ends between its look and its wait (wait_for_any_job), and a
# trap for CHLD that falls into the reading of a $(...) ends the script with a syntax error.
# Nor would a long `wait` be: a signal that comes just as it begins is not seen before it ends.
# So the end of the watcher is read from a pipe, two seconds at a time.
await_need() {
    local name status=0 watched=() arguments=()
    for name in "${PROCESSES[@]}"; do
        [[ -z ${DUE[$name]} ]] || continue
        watched+=("$name")
        arguments+=("$name:${PID[$name]}:${ADDRESS[$name]}")
    done
    as_user watcher
    exec 6< <(exec "${AS[@]}" setpriv --pdeathsig KILL sh -c "$TIED" sh $$ \
        "$PROGRAMS_DIR/watcher" --for "$1" --logs "$STATE/log" "$LOG_BYTES" "${arguments[@]}" \
        </dev/null 7>&- 8>&- 9>&-)
    BUSY=$!
    while read -r -t 2 -u 6 || (($? > 128)); do :; done
    exec 6<&-
    wait "$BUSY" || status=$?
    BUSY=
    if ((status > 16 && status < 80)); then
        hanging_kill $((status - 16)) "${watched[@]}"
    elif ((status != 0)); then
        say "the watcher ended with status $status; for now nobody sees what hangs" >&2
        nap 1
    fi
}

# hanging_kill BITS NAME...: kills the i-th name if bit i is set.
hanging_kill() {
    local bits=$1 name
    for name in "${@:2}"; do
        if ((bits & 1)) && process_identity "${PID[$name]}"; then
            say "$name hangs: it does not answer; killing it"
            kill_family "${PID[$name]}"
            while process_identity "${PID[$name]}"; do nap 0.02; done
        fi
        bits=$((bits >> 1))
    done
}

# Whether a process has ended and that is not recorded yet.
any_ended() {
    local name
    for name in "${PROCESSES[@]}"; do
        [[ -n ${DUE[$name]} ]] || process_identity "${PID[$name]}" || return 0
    done
    return 1
}

# Records that it died, or restarts it when that is due.
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

# process_stop NAME: sends SIGTERM, and SIGKILL if it does not end in time.  A service logs how
# long its settings allow, and ends by then.  CHECKOUT_STOP_SECONDS limits all of them together: a
# gateway that finishes its last requests takes most of it, and a third is kept for PostgreSQL.  A
# killed PostgreSQL recovers when it starts again.
process_stop() {
    local left third=$((STOP_SECONDS / 3)) log=$STATE/log/$1.log signal=TERM
    [[ $1 != postgres ]] || signal=INT
    if [[ -z $STOP_SECONDS ]]; then
        stop_allowance "$1" "$log"
        left=$REPLY
    else
        now_ms
        ((STOP_BY_MS > 0)) || STOP_BY_MS=$((REPLY + STOP_SECONDS * 1000))
        left=$(((STOP_BY_MS - REPLY) / 1000))
        if [[ $1 == postgres ]]; then
            ((left > third)) || left=$third
        else
            left=$((left - third))
            ((left > 1)) || left=1
        fi
    fi
    end_process "$PIDS/$1.pid" "$signal" "$left"
}

# stop_allowance NAME LOG: sets REPLY to the seconds within which it must end.
stop_allowance() {
    local size seconds=30
    size=$(stat -c %s "$2" 2>/dev/null || echo 0)
    [[ $1 == postgres ]] || process_ends "$1" || seconds=$(stop_seconds "$2" "$size")
    REPLY=$seconds
}

# Whether it ends within some seconds of SIGTERM, as it nearly always does.
process_ends() {
    local tenths=100
    pid_file_read "$PIDS/$1.pid" || return 0
    kill -TERM "$REPLY" 2>/dev/null || true
    while pid_file_read "$PIDS/$1.pid"; do
        ((tenths-- > 0)) || return 1
        sleep 0.05
    done
}

# stop_seconds LOG SIZE: the seconds that a stopping service announced after the first SIZE bytes
# of its log (`stopping`, lib/rpc/service/runtime.c), and a little more; 1 if it announced none.
stop_seconds() {
    local ms
    ms=$(tail -c "+$(($2 + 1))" "$1" | sed -n 's/.*event"\{0,1\}[=:]"\{0,1\}stopping.*within_ms"\{0,1\}[=:]\([0-9]*\).*/\1/p' |
        tail -n 1)
    echo $((${ms:--4000} / 1000 + 5))
}

# Called by the supervisor's EXIT trap: stops everything in reverse order, then frees the lock.
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
