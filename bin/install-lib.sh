# Shared by bin/install-receiver and bin/install-lab-host. Sourced after lib.sh, not run.
#
# The caller sets $opt (folder of the program), $tmpfiles (its tmpfiles.d file) and $files (source, mode and target of each
# file of the checkout, a line each) and $left (what stays after uninstalling), has install_all and uninstall_all, and calls main "$@".

# The arguments that both take; then install_all or uninstall_all, which the caller has.
main() {
    local uninstall=no
    dry=no dest="" with_venv=yes changes=0 stale=no
    while [ $# -gt 0 ]; do
        case $1 in
        --dry-run) dry=yes ;;
        --no-venv) with_venv=no ;;
        --uninstall) uninstall=yes ;;
        --root)
            [ -n "${2:-}" ] || die "--root needs a folder"
            dest=$(realpath -m -- "$2")
            shift
            ;;
        -h | --help)
            sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) die "unknown argument $1; try --help" ;;
        esac
        shift
    done
    [ -n "$dest" ] || [ "$dry" = yes ] || [ "$(id -u)" = 0 ] || die "run it as root, or with --dry-run or --root DIR"
    if [ "$uninstall" = yes ]; then
        uninstall_all
    else
        install_all
    fi
}

# act WHAT COMMAND...: say what changes, and change it unless this is a dry run.
act() {
    local what=$1
    shift
    changes=$((changes + 1))
    if [ "$dry" = yes ]; then
        printf 'would %s\n' "$what"
    else
        "$@"
        printf 'did   %s\n' "$what"
    fi
}

# Whether this run changes the machine itself, not a folder that stands for it.
for_real() { [ -z "$dest" ]; }

has_systemd() { for_real && [ -d /run/systemd/system ]; }

# The folders of tmpfiles.d, read from the file so that they are said once.
make_folders() {
    local kind path mode owner group _
    while read -r kind path mode owner group _; do
        [ "$kind" = d ] || continue
        [ -d "$dest$path" ] || act "create $path ($mode $owner:$group)" make_folder "$path" "$mode" "$owner:$group"
    done <"$root/$tmpfiles"
}

make_folder() {
    mkdir -p "$dest$1"
    chmod "$2" "$dest$1"
    own "$3" "$1"
}

own() {
    ! for_real || chown "$1" "$2"
}

# Each version has an environment of its own; a link is switched when it is whole, and the last one stays for
# the way back.
install_venv() {
    local version release
    version=$(source_version)
    release=$opt/releases/$version
    [ -e "$dest$release/.complete" ] ||
        act "make the Python environment $release (takes a minute)" build_venv "$release"
    [ "$(readlink "$dest$opt/venv")" = "releases/$version" ] && return
    stale=yes
    act "switch $opt/venv to releases/$version" switch_venv "$version"
}

source_version() {
    (cd "$root" && find cis490_receiver setup.cfg pyproject.toml -type f ! -name '*.pyc' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
}

build_venv() {
    local release=$dest$1 python source
    python=$(find_python) || exit 2
    if for_real; then
        case $(readlink -f "$("$python" -c 'import sys; print(sys.executable)')") in
        /home/* | /root/*) die "$python lies in a home folder, which a service may not enter; put Debian's first in PATH" ;;
        esac
    fi
    rm -rf "$release"
    mkdir -p "$(dirname "$release")"
    "$python" -m venv "$release" ||
        die "cannot make a virtual environment; on Debian or Ubuntu: sudo apt-get install python3-venv"
    # A copy, so that the build leaves nothing in the checkout.
    source=$(mktemp -d)
    cp -R "$root"/{cis490_receiver,setup.cfg,pyproject.toml,README.md,LICENSE} "$source"
    "$release/bin/python" -m pip install --quiet --disable-pip-version-check "$source" ||
        die "pip could not install the dependencies; is a package index reachable?"
    rm -rf "$source"
    "$release/bin/python" -m cis490_receiver.manual "$release/share"
    touch "$release/.complete"
}

switch_venv() {
    local folder=$dest$opt previous old
    previous=$(readlink "$folder/venv" || true)
    ln -sfn "releases/$1" "$folder/venv.new"
    mv -T "$folder/venv.new" "$folder/venv"
    for old in "$folder"/releases/*; do
        case releases/${old##*/} in
        "releases/$1" | "$previous") ;;
        *) rm -rf "$old" ;;
        esac
    done
}

# install_share PROGRAM...: manual pages and shell completions, as links into the release in force.
install_share() {
    [ "$with_venv" = yes ] || return 0
    share_is_linked "$@" || act "link manual pages and completions into $share" link_share "$@"
}

share=/usr/local/share

# What the release has for the programs, relative to its share folder.
share_files() {
    local program
    for program in "$@"; do
        (cd "$dest$opt/venv/share" 2>/dev/null && find . -type f \( -name "$program" -o -name "_$program" \
            -o -name "$program.fish" -o -name "$program.1.gz" -o -name "$program-*.1.gz" \) -printf '%P\n') || true
    done
}

share_links() {
    find "$dest$share" -lname "$opt/venv/share/*" "$@" 2>/dev/null || true
}

share_is_linked() {
    [ -n "$(share_files "$@")" ] &&
        [ "$(share_files "$@" | sort)" = "$(share_links -printf '%P\n' | sort)" ]
}

link_share() {
    local path
    share_links -delete
    share_files "$@" | while read -r path; do
        mkdir -p "$(dirname "$dest$share/$path")"
        ln -sfn "$opt/venv/share/$path" "$dest$share/$path"
    done
}

install_files() {
    local source mode target
    while read -r source mode target; do
        cmp -s "$root/$source" "$dest$target" && continue
        stale=yes
        act "install $target" put "$root/$source" "$mode" "$target"
    done <<<"$files"
}

# put SOURCE MODE TARGET: whole or not at all.
put() {
    mkdir -p "$(dirname "$dest$3")"
    install -m "$2" "$1" "$dest$3.install-new"
    mv -f "$dest$3.install-new" "$dest$3"
}

# enable_units UNIT...: enabled, and running as long as the machine does.
enable_units() {
    local unit
    has_systemd || return 0
    if [ "$stale" = yes ]; then
        act "let systemd read its units again" systemctl daemon-reload
    fi
    for unit in "$@"; do
        systemctl --quiet is-enabled "$unit" 2>/dev/null ||
            act "enable and start $unit" systemctl enable --quiet --now "$unit"
    done
}

# remove_program UNIT...: the units stopped, the files and the program gone.
remove_program() {
    local source mode target
    if has_systemd; then
        for target in "$@"; do
            if systemctl --quiet is-enabled "$target" 2>/dev/null || systemctl --quiet is-active "$target"; then
                act "stop and disable $target" systemctl disable --quiet --now "$target"
            fi
        done
    fi
    while read -r source mode target; do
        [ ! -e "$dest$target" ] || act "remove $target" rm -f "$dest$target"
    done <<<"$files"
    [ -z "$(share_links)" ] || act "remove manual pages and completions from $share" share_links -delete
    [ ! -d "$dest$opt" ] || act "remove $opt" rm -rf "$dest$opt"
    if has_systemd && [ "$changes" != 0 ]; then
        act "let systemd read its units again" systemctl daemon-reload
        for target in "$@"; do
            # What had failed would be listed for ever; what had not cannot be reset.
            systemctl reset-failed "$target" "${target%.*}.service" 2>/dev/null || true
        done
    fi
    if [ "$changes" = 0 ]; then
        printf 'nothing changed: it is not installed\n'
    elif [ "$dry" = no ]; then
        printf '\nLeft as they are: %s\n' "$left"
    fi
}
