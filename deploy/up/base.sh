# base.sh - messages, processes, waiting.  Sourced by ./up and ./check.

# Prints one sentence.  A detached supervisor writes to a log, so it adds the time.  A failed
# write (full disk, closed pipe) is ignored.
say() {
    if [[ -n ${UP_DETACHED:-} ]]; then
        printf '%(%FT%TZ)T up: %s\n' -1 "$*" || true
    else
        printf '%s\n' "$*" || true
    fi
}

# Prints one sentence and exits with 1.  The EXIT trap stops what was started.
die() {
    say "$*" >&2
    if [[ -n ${UP_DETACHED:-} ]]; then
        printf 'failed %s\n' "$*" 2>/dev/null >&7 || true
    fi
    exit 1
}

# Runs a long program such that a signal takes effect at once: bash runs traps only between
# commands, but a signal interrupts `wait`.
BUSY=
patiently() {
    local status=0
    "$@" </dev/null &
    BUSY=$!
    wait "$BUSY" || status=$?
    BUSY=
    return "$status"
}

# Milliseconds since boot into REPLY, without a fork.
now_ms() {
    local seconds
    read -r seconds _ </proc/uptime
    REPLY=$((10#${seconds/./} * 10))
}

# nap SECONDS: a sleep that a signal can interrupt.
nap() {
    patiently sleep "$1" || true
}

# --- processes ---------------------------------------------------------------------
#
# A pid file holds "PID START BOOT": the kernel's start time of that process and the id
# of this boot.  Together they identify one process for ever, so a stale file cannot make us
# signal another process.

# process_identity PID: sets REPLY to "PID START BOOT"; fails when it is gone or a zombie.
process_identity() {
    local stat boot fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -r boot </proc/sys/kernel/random/boot_id
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    REPLY="$1 ${fields[19]} $boot"
}

# On a full disk the file is missing for now; the supervisor writes it when there is space.
pid_file_write() {
    process_identity "$2" || return 0
    { printf '%s\n' "$REPLY" >"$1.new" && mv -f "$1.new" "$1"; } 2>/dev/null || rm -f "$1.new"
}

# pid_file_read FILE: sets REPLY to the pid; fails unless that very process still runs.
pid_file_read() {
    local line
    { read -r line <"$1"; } 2>/dev/null || return 1
    process_identity "${line%% *}" || return 1
    [[ $REPLY == "$line" ]] || return 1
    REPLY=${line%% *}
}

# kill_family PID: kills it and its children (PostgreSQL's children would run on for a while).
kill_family() {
    local children
    mapfile -t -d ' ' children < <(cat "/proc/$1/task/$1/children" 2>/dev/null)
    kill -KILL "$1" "${children[@]}" 2>/dev/null || true
}

SOMETHING_KILLED= # yes: a process did not end in time

# end_process PIDFILE SIGNAL SECONDS: sends the signal, waits, then kills.
end_process() {
    local file=$1 signal=$2 tenths=$(($3 * 20))
    pid_file_read "$file" || { rm -f "$file"; return 0; }
    kill "-$signal" "$REPLY" 2>/dev/null || true
    while pid_file_read "$file"; do
        # Once more: bash may miss a signal that arrives just as it begins to wait.
        ((tenths % 20 != 1)) || kill "-$signal" "$REPLY" 2>/dev/null || true
        if ((tenths-- == 0)); then
            say "$(basename "$file" .pid) did not end within $3 s and was killed" >&2
            kill_family "$REPLY"
            SOMETHING_KILLED=yes
        fi
        sleep 0.05
    done
    rm -f "$file"
}
