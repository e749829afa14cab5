#!/usr/bin/env bash
# Software Vulkan (Mesa's lavapipe) for the webgpu tests on machines without a GPU. Debian 12's own Mesa 22 is too old for Dawn, so there
# it comes from backports, of the mirror that apt has already. Elsewhere the distribution's Mesa must be 24 or newer.
set -euo pipefail

installed=$(dpkg-query -W -f='${Version}' mesa-vulkan-drivers 2>/dev/null || true)
if dpkg --compare-versions "${installed:-0}" ge 24; then
  echo "[setup-vulkan] mesa-vulkan-drivers $installed is installed"
  exit 0
fi

sudo=$([ "$(id -u)" -eq 0 ] || echo sudo)
release=()
if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ]; then
  release=(-t bookworm-backports)
  targets=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages')
  if ! grep -q '^bookworm-backports ' <<<"$targets"; then
    mirror=$(awk '$1 == "bookworm" { print $2; exit }' <<<"$targets")
    echo "deb ${mirror:-http://deb.debian.org/debian/} bookworm-backports main" | $sudo tee /etc/apt/sources.list.d/bookworm-backports.list >/dev/null
  fi
fi
$sudo apt-get update -q
$sudo apt-get install -y -q --no-install-recommends "${release[@]}" mesa-vulkan-drivers libvulkan1

installed=$(dpkg-query -W -f='${Version}' mesa-vulkan-drivers)
dpkg --compare-versions "$installed" ge 24 || {
  echo "[setup-vulkan] got mesa-vulkan-drivers $installed; Dawn needs 24 or newer. Take it from your distribution's backports" >&2
  exit 1
}
