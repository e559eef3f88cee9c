#!/bin/sh
# Makes .armhf: Debian's Python 3 and numpy for the board's processor family (armhf), unpacked into a folder.
# qemu-arm -L .armhf .armhf/usr/bin/python3 runs them. Needs apt-get and dpkg of a Debian with its own sources, not root;
# without them, or where nothing can be fetched, it says so and ends with code 3. What it fetches (some 20 MB) and its
# apt state stay in .armhf too.
set -e
here=$(cd "$(dirname "$0")/.." && pwd)
root=$here/.armhf
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg >/dev/null 2>&1; then
  echo "There is no apt-get or dpkg, which fetch the ARM packages: their tests will be skipped." >&2
  exit 3
fi
[ -e "$root/.ready" ] && [ "$root/.ready" -nt "$0" ] && exit 0
echo "Unpacking Debian's armhf Python and numpy into $root"
work=$root/apt
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: > "$work/status"
# A private state: this machine's own architectures and packages are neither read nor changed.
cat > "$work/apt.conf" <<CONF
APT::Architecture "armhf";
APT::Architectures { "armhf"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
CONF
fetch() { APT_CONFIG="$work/apt.conf" apt-get -qq "$@" >>"$work/log" 2>&1; }
# A mirror in the middle of its own update lacks single indexes, which apt leaves out; what matters is that the packages
# are found and their signed digests hold.
fetch update || true
if ! fetch install --yes --download-only python3 python3-numpy; then
  cat "$work/log" >&2
  echo "Debian's armhf packages cannot be fetched here: their tests will be skipped." >&2
  exit 3
fi
for package in "$work"/cache/archives/*.deb; do
  dpkg -x "$package" "$root"
done
# Debian's maintainer scripts would have chosen one of the BLAS libraries; they are not run here.
for library in "$root"/usr/lib/arm-linux-gnueabihf/blas/libblas.so.3 "$root"/usr/lib/arm-linux-gnueabihf/lapack/liblapack.so.3; do
  if [ -e "$library" ]; then
    ln -sf "${library#"$root/usr/lib/arm-linux-gnueabihf/"}" "$root/usr/lib/arm-linux-gnueabihf/${library##*/}"
  fi
done
rm -rf "$work"
touch "$root/.ready"
