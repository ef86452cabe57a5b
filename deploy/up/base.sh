# base.sh - words to the user, processes, waiting.  Sourced by ./up and ./check.

# One sentence for people.  A detached supervisor writes to a log and so adds the time.
# That it cannot be said (the disk is full, nobody reads) ends nothing.
say() {
    if [[ -n ${UP_DETACHED:-} ]]; then
        printf '%(%FT%TZ)T up: %s\n' -1 "$*" || true
    else
        printf '%s\n' "$*" || true
    fi
}

# Ends with one clear sentence.  What was started is stopped by the EXIT trap.
die() {
    say "$*" >&2
    if [[ -n ${UP_DETACHED:-} ]]; then
        printf 'failed %s\n' "$*" 2>/dev/null >&7 || true
    fi
    exit 1
}

# Runs a program that may take long so that a signal to us ends it at once: bash
# runs traps only between commands, but `wait` can be interrupted.
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
# of this boot.  Together they name one process for ever, so that a stale file can never
# make us signal somebody else's.

# process_identity PID: sets REPLY to "PID START BOOT"; fails when it is gone or a zombie.
process_identity() {
    local stat boot fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -r boot </proc/sys/kernel/random/boot_id
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    REPLY="$1 ${fields[19]} $boot"
}

# On a full disk there is no file for now; the supervisor writes it when there is space.
pid_file_write() {
    process_identity "$2" || return 0
    { printf '%s\n' "$REPLY" >"$1.new" && mv -f "$1.new" "$1"; } 2>/dev/null || rm -f "$1.new"
}

# pid_file_read FILE: sets REPLY to the pid when that very process still runs.
pid_file_read() {
    local line
    { read -r line <"$1"; } 2>/dev/null || return 1
    process_identity "${line%% *}" || return 1
    [[ $REPLY == "$line" ]] || return 1
    REPLY=${line%% *}
}

# kill_family PID: at once, with its children: PostgreSQL's would finish what they are doing.
kill_family() {
    local children
    mapfile -t -d ' ' children < <(cat "/proc/$1/task/$1/children" 2>/dev/null)
    kill -KILL "$1" "${children[@]}" 2>/dev/null || true
}

SOMETHING_KILLED= # yes: it had not ended in time

# end_process PIDFILE SIGNAL SECONDS: asks it to end, waits, then makes it.
end_process() {
    local file=$1 signal=$2 tenths=$(($3 * 20))
    pid_file_read "$file" || { rm -f "$file"; return 0; }
    kill "-$signal" "$REPLY" 2>/dev/null || true
    while pid_file_read "$file"; do
        # Again, for bash may overlook a signal that comes just as it begins to wait.
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
