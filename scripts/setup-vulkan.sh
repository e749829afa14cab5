#!/usr/bin/env bash
# Software Vulkan (Mesa lavapipe) for the webgpu tests on machines without a GPU. Debian 12's own Mesa 22 is too old for Dawn, so it
# comes from backports: the machine's Debian sources are copied with the suite replaced. Other systems: any Mesa >= 24 will do.
set -euo pipefail

if vulkan=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null) && dpkg --compare-versions "$(dpkg-query -W -f='${Version}' mesa-vulkan-drivers 2>/dev/null || echo 0)" ge 24; then
  echo "[setup] lavapipe is installed: ${vulkan}"
  exit 0
fi
sudo=$([ "$(id -u)" -eq 0 ] || echo sudo)
. /etc/os-release
if [ "${VERSION_CODENAME:-}" = bookworm ]; then
  for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ -f "$list" ] && copy=/etc/apt/sources.list.d/bookworm-backports.${list##*.} || continue
    grep -vi security "$list" >/dev/null && sed -E 's/bookworm( bookworm-updates)?( *)$/bookworm-backports\2/; s/bookworm main/bookworm-backports main/' "$list" |
      awk 'BEGIN { RS = ""; ORS = "\n\n" } !/security/' | $sudo tee "$copy" >/dev/null
    break
  done
  target=(-t bookworm-backports)
fi
$sudo apt-get update -q
$sudo apt-get install -y -q --no-install-recommends "${target[@]+"${target[@]}"}" mesa-vulkan-drivers libvulkan1
