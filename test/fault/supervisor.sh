#!/bin/bash
# supervisor.sh STATE - ./up's supervisor with children of no use: one ends at once, whenever
# it is started again, after a pause that is another each time; one goes on for ever.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STATE=$1 PIDS=$1/pids PROGRAMS_DIR=$CHECKOUT_BUILD/bin LOG_BYTES=1000000
mkdir -p "$STATE/log" "$PIDS"
# shellcheck source=/dev/null
source "$REPO/deploy/up/base.sh"
# shellcheck source=/dev/null
source "$REPO/deploy/up/processes.sh"

PROCESSES=(stays ends)
declare -A SECONDS_OF_LIFE=([stays]=1000 [ends]=0)
STARTS=0
RESTART_CALM_MS=0

process_start() {
    STARTING=$1 BEFORE=${!:-}
    RESTART_FIRST_MS=$((1 + ++STARTS % 100))
    LD_PRELOAD='' exec setpriv --pdeathsig KILL sleep "${SECONDS_OF_LIFE[$1]}" &
    process_started
    [[ $1 == stays ]] || echo "$STARTS"
}

say() { :; }
as_user() { AS=(); }
process_address() { :; }

# Only the supervisor itself may come here, and only once.
trap 'echo "$BASHPID" >>"$STATE/left"; kill "${PID[stays]}"' EXIT
trap 'exit 0' TERM
for name in "${PROCESSES[@]}"; do
    process_start "$name"
done
supervise
