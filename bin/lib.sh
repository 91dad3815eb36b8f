# Shared by the scripts beside it: a virtual environment under the checkout, made when it is missing or stale.
# Sourced, not run. Sets $root and $venv.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${CIS490_VENV:-$root/.venv}
unset CIS490_VENV

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$(basename "$0"): $*"
    exit 2
}

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or newer; on Debian or Ubuntu: sudo apt-get install python3 python3-venv"
}

# install_debian WHY PACKAGE...: as root by apt-get, with its output only when it fails; else the command is told.
install_debian() {
    local why=$1 log
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing for $why: $*"
        log=$(mktemp)
        if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes \
            --no-install-recommends "$@"; } >"$log" 2>&1; then
            tail -n 20 "$log" >&2
            say "could not install $*; what needs them will say so"
        fi
        rm -f "$log"
    else
        say "$why: sudo apt-get install --no-install-recommends $*"
    fi
}

# ensure_venv EXTRAS: the environment holds the package, editable, with these extras ("" for none).
ensure_venv() {
    local extras=$1 python wanted stamp
    wanted="$(cat "$root/setup.cfg" "$root/pyproject.toml" | cksum) $root"
    stamp=$venv/.installed-$extras
    # Two scripts at once take turns.
    mkdir -p "$venv"
    exec 9>"$venv/.lock"
    flock 9
    # An environment with more than is asked for will do.
    if [ -x "$venv/bin/python" ] && cat "$stamp"* 2>/dev/null | grep -qxF "$wanted"; then
        exec 9>&-
        return
    fi
    python=$(find_python) || exit 2
    if [ ! -x "$venv/bin/python" ]; then
        say "making a virtual environment in $venv"
        "$python" -m venv "$venv" ||
            die "cannot make a virtual environment; on Debian or Ubuntu: sudo apt-get install python3-venv"
    fi
    say "installing cis490-receiver${extras:+[$extras]} and what it needs"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root${extras:+[$extras]}" ||
        die "pip could not install the dependencies; is a package index reachable?"
    printf '%s\n' "$wanted" >"$stamp"
    exec 9>&-
}
