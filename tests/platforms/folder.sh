# Folders with another Debian in them; read by the scripts beside this one. Needs root, debootstrap and util-linux.
# shellcheck shell=sh

say() { echo "${0#"$PWD"/}: $*" >&2; }

# need_root: both making a folder and entering it need it.
need_root() {
    if [ "$(id -u)" != 0 ]; then
        say "this makes and enters another Debian's folder; expected root"
        exit 2
    fi
    for tool in debootstrap unshare git; do
        if ! command -v "$tool" >/dev/null; then
            say "no $tool here; expected the package that has it"
            exit 2
        fi
    done
}

# folder_option OPTION [VALUE]: one of --folder and --reuse into $folder and $reuse, --help to usage(); any other is a fault.
# $taken is how many words it was.
folder_option() {
    case "$1" in
        --folder | --reuse)
            [ $# -ge 2 ] || { say "$1 needs a folder"; exit 2; }
            [ "$1" = --folder ] || reuse=yes
            folder=$2
            taken=2
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        *)
            say "unknown option '$1'; --help shows those there are"
            exit 2
            ;;
    esac
}

# folder_options OPTION...: where there are no others.
folder_options() {
    # shellcheck disable=SC2034 # read by use_folder and the scripts
    reuse=
    while [ $# -gt 0 ]; do
        folder_option "$@"
        shift "$taken"
    done
}

# The mirror that this machine's own packages come from.
mirror() {
    apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' | grep -v security | head -n 1
}

# make_folder SUITE FOLDER
make_folder() {
    if [ -e "$2" ]; then
        say "$2 is there already; expected --reuse, or another folder"
        exit 2
    fi
    mkdir -p "$(dirname "$2")"
    debootstrap --variant=minbase "$1" "$2" "$(mirror)" >&2
}

# use_folder [SUITE]: $folder as a full path, made now unless it is to be reused; without a suite it has to be there.
use_folder() {
    if [ -z "$reuse" ] && [ $# -gt 0 ]; then
        make_folder "$1" "$folder"
    elif [ ! -x "$folder/usr/bin/dpkg" ]; then
        say "'$folder' is no Debian; expected the folder of one"
        exit 2
    fi
    folder=$(realpath "$folder")
}

# enter FOLDER COMMAND...: runs a command in it as root, in /srv/pconv, with processes and mounts of its own.
enter() {
    folder=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --pid --fork sh -c '
        set -eu
        folder=$1
        shift
        mount -t proc proc "$folder/proc"
        mount --rbind /dev "$folder/dev"
        mount -t tmpfs tmpfs "$folder/tmp"
        exec chroot "$folder" /usr/bin/env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "cd /srv/pconv && exec \"\$@\"" sh "$@"' \
        sh "$folder" "$@"
}

# put_source FOLDER: what is committed, as a clone has it, to be built from nothing.
put_source() {
    rm -rf "$1/srv/pconv"
    mkdir -p "$1/srv/pconv"
    git archive HEAD | tar -x -C "$1/srv/pconv"
}

# version FOLDER PACKAGE: as that Debian has it, without what is Debian's own of the number.
version() {
    chroot "$1" dpkg-query -W -f "\${Version}" "$2" 2>/dev/null | sed 's/^[0-9]*://; s/-[^-]*$//; s/[+~].*//' || true
}

# table_of_tests LOG: ctest's summary as lines of a table, labels with counts, and what was skipped or failed by name.
tests_passed() { sed -n 's/^\([0-9]*% tests passed.*\)$/\1/p' "$1" | tail -n 1; }
tests_not_run() { sed -n '/^The following tests did not run:/,/^$/p; /^The following tests FAILED:/,/^$/p' "$1" | sed -n 's/^[[:space:]]*[0-9]* - /- /p'; }

processor() { sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1; }
