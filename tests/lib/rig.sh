# Shared by the test scripts: checks that count, and waiting without guessing how long.
# shellcheck shell=bash

here_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

die() {
    echo "error: $*" >&2
    exit 1
}

# The file that collects one line per check: `ok …`, `failed …` or `skipped …`.
tally() { # RESULT WHAT
    [[ -z ${TESFS_TALLY-} ]] || printf '%s %s\n' "$1" "$2" >>"$TESFS_TALLY"
}

# Runs a command as a named check; its output shows only when it fails.
check() { # WHAT COMMAND...
    local what=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    if [[ $status -eq 0 ]]; then
        echo "ok      $what"
        tally ok "$what"
        return 0
    fi
    echo "FAILED  $what (status $status)"
    [[ -z $said ]] || printf '%s\n' "$said" | tail -n 20 | sed 's/^/    /'
    tally failed "$what"
    return 1
}

# Repeats a command until it succeeds, at most so many seconds.
within() { # SECONDS COMMAND...
    local until=$((SECONDS + $1))
    shift
    while ! "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.02
    done
}

# Is a live file system mounted on DIR? A node that ended first is an error at once.
mounted() { # DIR PID
    kill -0 "$2" 2>/dev/null || die "the node ended before it mounted"
    [[ $(stat -c %d "$1" 2>/dev/null) != "$(stat -c %d "$1/..")" ]] && stat -f "$1" >/dev/null 2>&1
}

# Has the process ended? One that only waits to be collected has.
gone() { # PID
    local state
    state=$(ps -o state= -p "$1") || return 0
    [[ $state == Z* ]]
}

need_fuse() {
    [[ -c /dev/fuse ]] || die "no /dev/fuse: the mounted tests cannot run here, and are not skipped"
}

# No configuration of the user who runs the tests takes part.
export TESFS_CONFIG=/dev/null

need_root() {
    [[ $(id -u) -eq 0 ]] || die "must run as root: it mounts loop devices and adds test users"
}

tesfs_binary() {
    local path=${TESFS_BIN:-$here_root/target/debug/tesfs}
    [[ -x $path ]] || die "$path is missing: cargo build --workspace --locked"
    echo "$path"
}
