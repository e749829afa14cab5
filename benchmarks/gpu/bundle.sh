#!/usr/bin/env bash
# Makes a folder that measures a GPU on a bare x86-64 Linux machine: no Node, npm or network needed, only tar, xz and the GPU's driver.
#
#   benchmarks/gpu/bundle.sh [folder, benchmarks/gpu/output]      then there: OUT=<results> sh run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-benchmarks/gpu/output}
rm -rf "$out"
mkdir -p "$out/app/node_modules"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$(node -p process.execPath)" "$work/node"
strip "$work/node" 2>/dev/null || echo '[bundle] strip is not installed: node stays larger'
# NVIDIA's driver needs GLVND's libraries beside the loader where no screen was ever set up
vulkan=(libvulkan1 libglvnd0 libegl1 libglx0 libgl1 libopengl0 libgles2)
(cd "$work" && apt-get download -q "${vulkan[@]}" >/dev/null 2>&1 && for deb in *.deb; do dpkg -x "$deb" vulkan; done) ||
  echo "[bundle] no ${vulkan[*]}: the machine must have its own"
mkdir -p "$work/lib"
cp -L "$work"/vulkan/usr/lib/*/lib*.so.? "$work/lib/" 2>/dev/null || true

webgpu=$(dirname "$(node -p "require.resolve('webgpu/package.json')" 2>/dev/null || echo node_modules/webgpu/package.json)")
mkdir -p "$out/app/node_modules/webgpu/dist"
cp "$webgpu"/{package.json,index.js} "$out/app/node_modules/webgpu/"
cp -r "$webgpu/dist/linux-x64" "$out/app/node_modules/webgpu/dist/"
strip "$out"/app/node_modules/webgpu/dist/linux-x64/dawn.node 2>/dev/null || true
# jasmine, and all that it requires
jasmine=$(node -p '(function add(name, seen) { if (!seen.has(name)) { seen.add(name); for (const next in require(`${name}/package.json`).dependencies) add(next, seen); } return [...seen].join(" "); })("jasmine", new Set())')
for package in $jasmine; do cp -rL "node_modules/$package" "$out/app/node_modules/"; done

banner="import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);"
for program in webgpu specs mixed-precision profile energy; do
  npx esbuild "benchmarks/gpu/$program.ts" --bundle --platform=node --format=esm --conditions=@leantune/source --main-fields=module,main \
    --external:webgpu --external:jasmine --external:@tensorflow/tfjs-node --external:@tensorflow/tfjs-node-gpu \
    --banner:js="$banner" --outfile="$out/app/$program.mjs" --log-level=error
done
npx tsx --conditions=@leantune/source -e "import('./packages/testing/specs/bundle.ts').then(async ({ bundleSpecs }) => require('node:fs').copyFileSync(await bundleSpecs('webgpu'), '$out/app/specs.cjs'))"
cp benchmarks/gpu/{run.sh,pytorch.py} benchmarks/pytorch/train_step.py "$out/"

mkdir -p "$work/pack" && mv "$out/app" "$work/pack/app" && mv "$work/node" "$work/lib" "$work/pack/"
tar -C "$work/pack" -c . | xz -T0 -6 >"$out/measure.tar.xz"
du -sh "$out"
