#!/bin/sh
# The Debian packages and the archive on a system that has nothing else; see usage below. Not a part of CI.
set -eu
cd "$(dirname "$0")/../.."
. tests/platforms/folder.sh

usage() {
    cat <<'END'
Usage: tests/platforms/packages.sh [OPTION...]

Packs what is in build/release, makes a folder with this machine's Debian in it, installs the packages there with what they depend
on, and fills a picture with the command, with GIMP by Script-Fu, with gegl and with ffmpeg; then takes the packages off again and
does it with the archive. Compares with what build/release's command makes of the picture, and writes what came of it to
docs/results/packages.md. Needs root, debootstrap, lintian and a build in build/release with the plug-ins.

  --folder FOLDER   where to make it (build/platforms/packages)
  --reuse FOLDER    take one that this script has made
  --help            show this
END
}

folder=build/platforms/packages
folder_options "$@"

need_root
compare=$(find build/release -name pconv_host_compare -type f | head -n 1)
for part in build/release/bin/pconv "${compare:-pconv_host_compare}" build/release/editors/gimp2/pconv-fill-selection/pconv-fill-selection; do
    [ -x "$part" ] || { say "no $part; expected all of build/release to be built, with the plug-ins"; exit 2; }
done
# shellcheck source=/dev/null # the system's own
use_folder "$(. /etc/os-release && echo "$VERSION_CODENAME")"
log=$PWD/build/platforms/packages.log
mkdir -p build/platforms
commit=$(git rev-parse --short=12 HEAD)

say "packing"
packed=$folder/srv/pconv
rm -rf "$packed"
mkdir -p "$packed"
for generator in DEB TGZ; do
    cpack --config build/release/CPackConfig.cmake -G "$generator" -B "$packed/packed"
done >"$log" 2>&1 || { tail -n 20 "$log" >&2; say "cpack failed; all of it is in $log"; exit 1; }
rm -rf "$packed/packed/_CPack_Packages"
lintian --allow-root --fail-on error "$packed"/packed/*.deb >"$packed/lintian" 2>&1 || { cat "$packed/lintian" >&2; say "lintian has errors"; exit 1; }
cp apps/demo/damaged.png "$packed"
build/release/bin/pconv inpaint apps/demo/damaged.png -o "$packed/expected.png" >>"$log" 2>&1
cat >"$packed/gimp.scm" <<'END'
(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "damaged.png" "damaged.png"))) (layer (car (gimp-image-get-active-layer image))))
  (plug-in-pconv-fill-selection RUN-NONINTERACTIVE image layer "cpu" "")
  (file-png-save-defaults RUN-NONINTERACTIVE image layer "gimp.png" "gimp.png"))
(gimp-quit 0)
END

# Nobody's answer is waited for, and what a host says of a display that is not there is not shown.
inside() { enter "$folder" "$@" </dev/null >>"$log" 2>&1; }
try() {
    name=$1
    shift
    rm -f "$packed/$name.png"
    inside "$@" || { tail -n 20 "$log" >&2; say "$name failed; all of it is in $log"; exit 1; }
    apart=$("$compare" "$packed/expected.png" "$packed/$name.png" 1) || { say "$name: $apart; expected at most 1"; exit 1; }
    outcome="$outcome| $what | $name | $apart |
"
}
outcome=

say "the packages, with the hosts"
inside apt-get update -q
inside sh -c 'apt-get install -q -y --no-install-recommends ./packed/*.deb ffmpeg gegl' ||
    { tail -n 20 "$log" >&2; say "the packages cannot be installed; all of it is in $log"; exit 1; }
what="packages"
try command pconv inpaint damaged.png -o command.png
try gimp sh -c 'gimp -i -d -f -b - <gimp.scm'
try gegl gegl damaged.png -o gegl.png -- pconv:inpaint
try ffmpeg ffmpeg -v error -y -i damaged.png -vf format=rgba,frei0r=filter_name=pconv_inpaint -frames:v 1 -pix_fmt rgba ffmpeg.png

say "the archive, without the packages"
inside sh -c 'dpkg --purge pconv pconv-gimp pconv-gegl pconv-frei0r libpconv-dev libpconv0 && ! command -v pconv && ! ldconfig -p | grep pconv'
left=$(enter "$folder" sh -c 'find / -xdev -path /srv -prune -o -path /proc -prune -o "(" -name "pconv*" -o -name "libpconv*" ")" -print')
[ -z "$left" ] || { say "left behind by the packages: $left"; exit 1; }
inside sh -c 'rm -rf "/srv/a folder" && mkdir "/srv/a folder" && tar xzf packed/pconv-*.tar.gz -C "/srv/a folder" --strip-components=1'
what="archive, in /srv/a folder"
try command '/srv/a folder/bin/pconv' inpaint damaged.png -o command.png
try gimp sh -c 'mkdir -p ~/.config/GIMP/2.10/plug-ins && cp -r "/srv/a folder/lib/gimp/2.0/plug-ins/pconv-fill-selection" ~/.config/GIMP/2.10/plug-ins/ &&
    LD_LIBRARY_PATH="/srv/a folder/lib" gimp -i -d -f -b - <gimp.scm && rm -r ~/.config/GIMP'
try ffmpeg env 'FREI0R_PATH=/srv/a folder/lib/frei0r-1' ffmpeg -v error -y -i damaged.png -vf format=rgba,frei0r=filter_name=pconv_inpaint \
    -frames:v 1 -pix_fmt rgba ffmpeg.png

{
    cat <<END
# Packages

Commit $commit, by \`tests/platforms/packages.sh\`: a folder made by debootstrap ($(. "$folder/etc/os-release" && echo "$PRETTY_NAME"), minbase), into
which the packages were installed by apt with what they depend on, ffmpeg $(version "$folder" ffmpeg) and gegl; GIMP $(version "$folder" gimp). What is here was
written by that script.

| package | bytes | depends on |
| --- | --- | --- |
END
    for deb in "$packed"/packed/*.deb; do
        echo "| $(dpkg-deb -f "$deb" Package) | $(stat -c %s "$deb") | $(dpkg-deb -f "$deb" Depends) |"
    done
    cat <<END

The demo's damaged picture, filled there on the CPU, beside what the command of the build makes of it:

| by | with | of 255 levels |
| --- | --- | --- |
$outcome
Purging the packages left no file behind. lintian $(version / lintian) finds no error; its warnings:

\`\`\`
$(sed -n '/^W: /p' "$packed/lintian")
\`\`\`
END
} >docs/results/packages.md
say "written: docs/results/packages.md; the log is $log"
