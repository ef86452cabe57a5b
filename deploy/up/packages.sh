# packages.sh - installs the Debian packages that are missing, and only then calls apt.

# packages_missing FILE...: prints the packages that are not installed and whose command is not
# there either.
packages_missing() {
    local package command installed
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null || true)
    sed -e 's/#.*//' "$@" | while read -r package command; do
        [[ -n $package ]] || continue
        grep -qx "$package installed" <<<"$installed" && continue
        [[ -n $command ]] && command -v "$command" >/dev/null && continue
        printf '%s\n' "$package"
    done
}

packages_install() {
    local missing as_root=()
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]} > 0)) || return 0
    command -v apt-get >/dev/null ||
        die "These Debian packages are missing: ${missing[*]}; this system has no apt-get, so install them by hand."
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "These packages are missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "Installing ${missing[*]} ..."
    "${as_root[@]}" apt-get -qq update ||
        say "apt-get update failed; trying with the package lists as they are." >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null ||
        die "These packages are missing and apt-get could not install them: ${missing[*]} (see its message above)."
}
