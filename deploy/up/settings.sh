# settings.sh - what ./up was started with, kept in STATE/settings for the next start.
#
# Kept are the options --port, --demo and --no-demo and the variables CHECKOUT_BUILD,
# CHECKOUT_DATABASE_URL, CHECKOUT_NATS_URL, CHECKOUT_LOG_FORMAT, CHECKOUT_LOG_BYTES,
# CHECKOUT_STOP_SECONDS and CHECKOUT_<PROGRAM>_<SETTING>.  A value given now replaces the kept one;
# --forget drops all kept values except the database.
#
# Values may be passwords.  So the variables are removed from the environment first, only the
# owner can read the file, and the supervisor reads it in a process that was started without
# them: no program has them in its environment.

PROGRAMS=(inventory payment orchestrator gateway webhook checkoutctl)
declare -A GIVEN=() SETTINGS=()

# setting_is_ours NAME: whether it is one that is kept.
setting_is_ours() {
    local program
    case $1 in
    PORT | DEMO) return 0 ;;
    CHECKOUT_BUILD | CHECKOUT_DATABASE_URL | CHECKOUT_NATS_URL) return 0 ;;
    CHECKOUT_LOG_FORMAT | CHECKOUT_LOG_BYTES | CHECKOUT_STOP_SECONDS) return 0 ;;
    esac
    for program in "${PROGRAMS[@]}"; do
        [[ $1 != CHECKOUT_"${program^^}"_?* ]] || return 0
    done
    return 1
}

# Moves our variables of the environment into GIVEN.
settings_take() {
    local name
    for name in $(compgen -e CHECKOUT_ || true); do
        setting_is_ours "$name" || continue
        GIVEN[$name]=${!name}
        unset "$name"
    done
}

# The effective settings: kept values, overridden by those given now.
settings_merge() {
    local name
    SETTINGS=()
    ((RESET)) || settings_read
    if ((FORGET)); then
        for name in "${!SETTINGS[@]}"; do
            [[ $name == CHECKOUT_DATABASE_URL ]] || unset "SETTINGS[$name]"
        done
    fi
    for name in "${!GIVEN[@]}"; do
        SETTINGS[$name]=${GIVEN[$name]}
    done
}

settings_read() {
    local line file=$STATE/settings
    [[ -z ${UP_RUNS:-} ]] || file=$STATE/settings.new
    [[ -r $file ]] || return 0
    while read -r line; do
        ! setting_is_ours "${line%%=*}" || SETTINGS[${line%%=*}]=${line#*=}
    done <"$file"
}

# For the supervisor to read.
settings_write() {
    local name
    {
        echo "# What ./up was started with and starts with again; see docs/configuration.md."
        for name in $(printf '%s\n' "${!SETTINGS[@]}" | sort); do
            printf '%s=%s\n' "$name" "${SETTINGS[$name]}"
        done
    } >"$STATE/settings.new"
}

# Called once the stack is ready: settings that cannot start are not kept.
settings_keep() {
    mv -f "$STATE/settings.new" "$STATE/settings"
}

# Sets the variables that the other files use; exits with one sentence on an invalid value.
settings_use() {
    local name
    for name in "${!SETTINGS[@]}"; do
        [[ ${SETTINGS[$name]} != *$'\n'* ]] || usage_error "$name has a line end in it."
    done
    PORT=${SETTINGS[PORT]:-8080}
    if [[ ! $PORT =~ ^[0-9]{1,5}$ ]] || ((10#$PORT < 1 || 10#$PORT > 65535)); then
        usage_error "--port \"$PORT\" is not a port; it is a number from 1 to 65535."
    fi
    PORT=$((10#$PORT))
    LOG_FORMAT=${SETTINGS[CHECKOUT_LOG_FORMAT]:-logfmt}
    LOG_BYTES=${SETTINGS[CHECKOUT_LOG_BYTES]:-$((64 << 20))}
    STOP_SECONDS=${SETTINGS[CHECKOUT_STOP_SECONDS]:-}
    OWNER_URL=${SETTINGS[CHECKOUT_DATABASE_URL]:-}
    NATS_URL=${SETTINGS[CHECKOUT_NATS_URL]:-}
    BUILD=${SETTINGS[CHECKOUT_BUILD]:-}
    DEMO=${SETTINGS[DEMO]:-}
    [[ $LOG_FORMAT == logfmt || $LOG_FORMAT == json ]] ||
        usage_error "CHECKOUT_LOG_FORMAT is \"$LOG_FORMAT\"; write logfmt or json."
    [[ $LOG_BYTES =~ ^[1-9][0-9]{0,14}$ ]] || usage_error "CHECKOUT_LOG_BYTES is not a number of bytes."
    [[ $STOP_SECONDS =~ ^([1-9][0-9]{0,3})?$ ]] || usage_error "CHECKOUT_STOP_SECONDS is not a number of seconds."
}

# settings_of PROGRAM: the settings given for it, as lines of its configuration.
settings_of() {
    local name prefix=CHECKOUT_${1^^}_ setting
    for name in "${!SETTINGS[@]}"; do
        [[ $name == "$prefix"?* ]] || continue
        setting=${name#"$prefix"}
        printf '%s = %s\n' "${setting,,}" "${SETTINGS[$name]}"
    done
}
