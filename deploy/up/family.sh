# family.sh - runs a command so that all processes that come of it can be ended.
# Sourced by ./check; needs base.sh.
#
# When ctest is interrupted it leaves its tests running, and a test's stack is in a session of
# its own and takes a moment to stop.  So each process has a mark in its environment.

FAMILY_SECONDS=90 # time to end after SIGTERM; then SIGKILL
FAMILY_MARK=UP_FAMILY=$$

# Runs the command in a session of its own; a signal to us interrupts it.
family_run() {
    patiently env "$FAMILY_MARK" setsid "$@"
}

# Sets the array MEMBERS to the running processes that have the mark.  (Only root can read a
# service's environment.  Its supervisor's is readable, and that ends after its services.)
family_members() {
    local file pid
    MEMBERS=()
    while read -r file; do
        pid=${file//[!0-9]/}
        ! process_identity "$pid" || MEMBERS+=("$pid")
    done < <(grep -lszxF "$FAMILY_MARK" /proc/[0-9]*/environ 2>/dev/null)
}

# Sends SIGTERM to the session, so that tests stop their stacks, and waits for all members.
family_end() {
    local limit
    kill -TERM -- "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null || true
    now_ms
    limit=$((REPLY + FAMILY_SECONDS * 1000))
    while family_members && ((${#MEMBERS[@]} > 0)); do
        now_ms
        ((REPLY < limit)) || kill -KILL "${MEMBERS[@]}" 2>/dev/null || true
        sleep 0.1
    done
}
