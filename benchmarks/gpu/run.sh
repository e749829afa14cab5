#!/bin/sh
# Measures the GPU of this machine: see webgpu.ts. Results go to $OUT, after every stage; a stage that hangs is stopped.
#   OUT=results sh run.sh [stage…]
set -u
here=$(cd "$(dirname "$0")" && pwd)
OUT=${OUT:-$here/results}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
unpacked=${UNPACKED:-$(mktemp -d)}
[ -x "$unpacked/node" ] || tar -xJf "$here/measure.tar.xz" -C "$unpacked" || exit 1

export LD_LIBRARY_PATH="$unpacked/lib:${LD_LIBRARY_PATH:-}" XDG_RUNTIME_DIR=/tmp HOME="${HOME:-/tmp}"
for icd in /usr/share/vulkan/icd.d/nvidia_icd*.json /etc/vulkan/icd.d/nvidia_icd*.json /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd*.json /usr/local/share/vulkan/icd.d/nvidia_icd*.json; do
  [ -f "$icd" ] && [ -z "${VK_DRIVER_FILES:-}" ] && export VK_DRIVER_FILES="$icd" && echo "driver: $icd"
done
if [ -z "${VK_DRIVER_FILES:-}" ]; then # a container may have the driver's library without its description
  library=$(ldconfig -p 2>/dev/null | sed -n 's/.*=> \(.*libGLX_nvidia\.so\.0\)$/\1/p' | head -n 1)
  if [ -n "$library" ]; then
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.0"}}' "$library" >"$unpacked/nvidia_icd.json"
    export VK_DRIVER_FILES="$unpacked/nvidia_icd.json"
    echo "driver: $library"
  fi
fi
nvidia-smi --query-gpu=name,driver_version,power.limit --format=csv 2>/dev/null | tee "$OUT/card.csv"

measure() { timeout -k 5 "$((SECONDS_PER_STAGE + 20))" "$unpacked/node" "$unpacked/app/webgpu.mjs" "$OUT/webgpu.json" --seconds "$SECONDS_PER_STAGE" ${FLAGS:-} "$@"; }
SECONDS_PER_STAGE=${SECONDS_PER_STAGE:-60}
for stage in ${*:-device correctness f32 half transformer mobilenet specs}; do
  if [ "$stage" = specs ]; then
    timeout -k 5 "${SECONDS_OF_SPECS:-120}" "$unpacked/node" "$unpacked/app/specs.mjs" ${SPECS:-} >"$OUT/specs.json" 2>"$OUT/specs.log" || echo "specs: status $?"
  else
    measure "$stage" 2>"$OUT/$stage.log" || echo "$stage: status $?"
  fi
done
ls -l "$OUT"
