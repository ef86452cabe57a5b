# build.sh - brings a build folder up to date; prints nothing unless it fails.

# build_folder PRESET FOLDER: configures once, then builds what changed.  A lock keeps a second
# build out of the folder meanwhile.
build_folder() {
    local preset=$1 folder=$2
    mkdir -p "$folder" 2>/dev/null || true
    [[ -w $folder ]] ||
        die "$(id -un) cannot write to the build folder $folder; run this as the owner of the tree, or set CHECKOUT_BUILD to a finished build."
    exec 8>"$folder/.lock"
    patiently flock 8
    build_run "$preset" "$folder" || {
        tail -n 40 "$folder/build.log" >&2
        die "The $preset build failed; all of its output is in $folder/build.log."
    }
    exec 8>&-
}

build_run() {
    local preset=$1 folder=$2
    if [[ ! -e $folder/build.ninja ]]; then
        patiently cmake -S "$REPO" --preset "$preset" >"$folder/build.log" 2>&1 || return 1
    fi
    patiently ninja -C "$folder" >"$folder/build.log" 2>&1
}
