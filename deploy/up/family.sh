# family.sh - a command and all that comes of it, so that all of it can be ended.
# Sourced by ./check; needs base.sh.
#
# ctest that is told to end leaves its tests behind, and a test's stack is in a session of
# its own and takes a moment to stop.  So the family carries a mark in its environment.

FAMILY_SECONDS=90 # what still runs so long after it was told to end is killed
FAMILY_MARK=UP_FAMILY=$$

# Runs the command in a session of its own; a signal to us interrupts it.
family_run() {
    patiently env "$FAMILY_MARK" setsid "$@"
}

# The members that run, into the array MEMBERS.  (Root alone can read the environment of
# a service; but its supervisor's can be read, and that ends after the services.)
family_members() {
    local file pid
    MEMBERS=()
    while read -r file; do
        pid=${file//[!0-9]/}
        ! process_identity "$pid" || MEMBERS+=("$pid")
    done < <(grep -lszxF "$FAMILY_MARK" /proc/[0-9]*/environ 2>/dev/null)
}

# Tells the session to end, so that the tests stop their stacks, and waits for all.
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
